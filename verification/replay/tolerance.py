"""Whether a re-run of a segment ends where the owner said: exactly on one class of machines, within a measured band across classes."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from verification.replay import digests
from verification.replay.digests import Tensor

# Measured on one CPU model with the small byte GPT (136 thousand parameters, AdamW): 292 honest comparisons across thread counts,
# instruction sets and MKL's code paths, over 5 starts and segments of 5 to 50 steps. 284 lie below 4e-6, in weights and in moments alike.
# The weakest forgery of training, a learning rate 1 % higher, moves the weights by 9e-3; a millionth added to one tensor by 7e-5.
BAND = 1e-5
# The other 8 are of three segments soon after the start, where training itself is unstable: rounding grew to 1e-2 in weights and 3e-2 in
# moments. It grows as much where the trusted re-run starts from weights moved by one unit in the last place (`nudged`): measured in one
# of the three, honest errors were at most 4 times that.
SWAY_FACTOR = 30
# Above that a segment proves nothing across classes.
WIDEST_BAND = 0.1
# Honest movements of two seeds agree within 0.85 to 1.06 a segment; weights that come from elsewhere moved 5,471 times as far.
PROFILE_FACTOR = 2.0
# Stands for "infinite" in what is sent as JSON.
LARGEST_ERROR = 1e9


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A reported end of a segment against a trusted one: the error as a share of the segment's movement, at most `LARGEST_ERROR`.

    UNSTABLE: not within the band, and the segment too unstable for a wider one to prove anything; audit another or on the same class.
    """

    is_exact: bool
    error: float
    outcome: Literal["PASS", "FAIL", "UNSTABLE"]


def compare(
    start: Iterable[Tensor], reference_end: Iterable[Tensor], reported_end: Iterable[Tensor], *, is_same_class: bool, sway: float = 0.0
) -> Comparison:
    """Compare a reported end of a segment with the trusted re-run's, both from the same start.

    On the same class only equal bits pass. Across classes the error is ||reported - reference|| / ||reference - start||, taken
    over the weights and over each kind of optimiser state by itself (moments are a thousand times smaller than weights and would vanish in
    one sum); the largest counts and must lie within `BAND`. What is not a float (counters, random states) must be equal.
    Where it lies outside, re-run the segment once more from `nudged` weights and give the error between both trusted ends as ``sway``:
    the band then widens to `SWAY_FACTOR` times that.

    Raises:
        digests.MalformedTensors: a name twice, an unknown dtype, or bytes that do not fill a shape.
    """
    begun, trusted, reported = digests.by_name(start), digests.by_name(reference_end), digests.by_name(reported_end)
    if trusted == reported:
        return Comparison(is_exact=True, error=0.0, outcome="PASS")
    error, band = _error(begun, trusted, reported), max(BAND, SWAY_FACTOR * sway)
    if is_same_class:
        return Comparison(is_exact=False, error=error, outcome="FAIL")
    if error <= min(band, WIDEST_BAND):
        return Comparison(is_exact=False, error=error, outcome="PASS")
    return Comparison(is_exact=False, error=error, outcome="UNSTABLE" if error <= band else "FAIL")


def nudged(start: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Move every float32 weight of a checkpoint by one unit in the last place, up and down in turn: rounding at its smallest."""
    return tuple(_nudged(one) for one in digests.by_name(start).values())


def _nudged(tensor: Tensor) -> Tensor:
    if tensor.dtype != "F32" or not tensor.name.startswith(digests.MODEL_PREFIX):
        return tensor
    weights = np.frombuffer(tensor.data, dtype="<f4")
    ends = np.where(np.arange(weights.size) % 2, np.float32(np.inf), np.float32(-np.inf))
    return tensor._replace(data=np.nextafter(weights, ends).astype("<f4").tobytes())


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
