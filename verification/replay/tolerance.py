"""Whether a re-run of a segment ends where the owner said: exactly on one class of machines, within a measured band across classes."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from verification.replay import digests
from verification.replay.digests import Tensor

# Measured on one CPU model, 5 settings x 20 segments of 10 steps: honest runs across thread counts, instruction sets and compilation differ
# by at most 2.6e-6 of the segment's movement; the weakest forgery, one tensor moved by a millionth, by 7e-5. The optimiser's moments: see
# tests/verification/replay/tolerance. What hides inside the band is bounded by it, and the score of the hold-out is what is paid.
BAND = 1e-5
# Honest movements of two seeds agree within 0.85 to 1.06 a segment; weights that come from elsewhere moved 5,471 times as far.
PROFILE_FACTOR = 2.0
# Stands for "infinite" in what is sent as JSON.
LARGEST_ERROR = 1e9


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A reported end of a segment against a trusted one: the error as a share of the segment's movement, at most `LARGEST_ERROR`."""

    is_exact: bool
    error: float
    outcome: Literal["PASS", "FAIL"]


def compare(start: Iterable[Tensor], reference_end: Iterable[Tensor], reported_end: Iterable[Tensor], *, is_same_class: bool) -> Comparison:
    """Compare a reported end of a segment with the trusted re-run's, both from the same start.

    On the same class only equal bits pass. Across classes the error is ||reported - reference|| / ||reference - start||, taken
    over the weights and over each kind of optimiser state by itself (moments are a thousand times smaller than weights and would vanish in
    one sum); the largest counts and must lie within `BAND`. What is not a float (counters, random states) must be equal.

    Raises:
        digests.MalformedTensors: a name twice, an unknown dtype, or bytes that do not fill a shape.
    """
    begun, trusted, reported = digests.by_name(start), digests.by_name(reference_end), digests.by_name(reported_end)
    if trusted == reported:
        return Comparison(is_exact=True, error=0.0, outcome="PASS")
    error = _error(begun, trusted, reported)
    return Comparison(is_exact=False, error=error, outcome="PASS" if error <= BAND and not is_same_class else "FAIL")


def is_profile_plausible(norms: Sequence[float], reference_norms: Sequence[float]) -> bool:
    """Tell whether the movements of a run look like those of the same tree on another seed; costs no re-run.

    An implausible one is no proof: audit its `suspects`.
    """
    return len(norms) == len(reference_norms) and not suspects(norms, reference_norms)


def suspects(norms: Sequence[float], reference_norms: Sequence[float]) -> tuple[int, ...]:
    """Return the segments whose movement is not within a factor of `PROFILE_FACTOR` of the reference's."""
    pairs = enumerate(zip(norms, reference_norms, strict=False))
    return tuple(index for index, (norm, reference) in pairs if not reference / PROFILE_FACTOR <= norm <= reference * PROFILE_FACTOR)


def _error(begun: dict[str, Tensor], trusted: dict[str, Tensor], reported: dict[str, Tensor]) -> float:
    # Weights are trained from the start to the end of a run; an optimiser's state may first appear in its first step.
    if [one[:3] for one in trusted.values()] != [one[:3] for one in reported.values()]:
        return LARGEST_ERROR
    groups: dict[str, list[str]] = {}
    for name, tensor in trusted.items():
        if tensor.dtype in digests.FLOATS:
            groups.setdefault(_kind(name), []).append(name)
        elif tensor.data != reported[name].data:
            return LARGEST_ERROR
    return max((_relative(names, begun, trusted, reported) for names in groups.values()), default=0.0)


def _kind(name: str) -> str:
    """Return what is measured together: "model", or an optimiser's state by its last word, such as "optimizer.exp_avg"."""
    first, _, rest = name.partition(".")
    return first if first == "model" else f"{first}.{rest.rpartition('.')[2]}"


def _relative(names: list[str], begun: dict[str, Tensor], trusted: dict[str, Tensor], reported: dict[str, Tensor]) -> float:
    wrong = math.fsum(digests.squared_distance(digests.values(trusted[name]), digests.values(reported[name])) for name in names)
    if wrong == 0:
        return 0.0
    moved = math.fsum(_moved(begun.get(name), trusted[name]) for name in names)
    # Not a number fails every comparison, so it is asked for what is allowed.
    return math.sqrt(wrong / moved) if 0 < moved < math.inf and wrong <= moved * LARGEST_ERROR**2 else LARGEST_ERROR


def _moved(begun: Tensor | None, end: Tensor) -> float:
    after = digests.values(end)
    before = digests.values(begun) if begun is not None and begun[:3] == end[:3] else after * 0
    return digests.squared_distance(before, after)
