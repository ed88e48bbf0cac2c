"""A score from log-probabilities, and the probes that tell a language model from a cheat by its outputs alone. No model is run here."""

import dataclasses
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verification.replay import fields

Floats = NDArray[np.floating[Any]]

# Largest difference of a log-probability (nats) that is put down to rounding. Measured in float32 on a CPU: 3.8e-6 for a shorter input,
# 0 for the others. The smallest leaks tried moved single positions by 0.1 and more.
TOLERANCES = {
    # The prefix alone gives what the whole input gave: no look-ahead.
    "truncated": 1e-3,
    # A row alone gives what it gave in a batch: no leak between rows.
    "row_alone": 1e-3,
    # The same input again gives the same: no memory of what was scored.
    "state": 1e-3,
    # Rows in another order give the same.
    "order": 1e-3,
    # Probabilities add up to one; a departure in nats.
    "normalised": 1e-6,
}
# Kernels in bfloat16 round to 3 digits and sum in another order for other shapes. Reasoned, not measured.
LOOSER_IN_BF16 = 100
# A score is at most so many bits a byte; a uniform guess among 256 bytes has 8.
LARGEST_SCORE = 1e6

_PROBE_NAMES = tuple(TOLERANCES)
_RULE = re.compile("|".join(_PROBE_NAMES))


class MalformedScore(fields.Malformed):
    """A score is not of the published shape; ``param`` names the field."""


class NotScorable(ValueError):
    """The model's outputs are no finite logits of the expected shape; the candidate has no score."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """One probe: the largest difference it found, among how many positions, and what it allows.

    ``largest`` is at most `LARGEST_SCORE`, which also stands for what is not a number.
    """

    name: str
    largest: float
    tolerance: float
    positions: int
    positions_beyond: int

    @property
    def is_passed(self) -> bool:
        """Whether no position lies beyond the tolerance."""
        return self.positions_beyond == 0


@dataclasses.dataclass(frozen=True)
class Score:
    """What the trusted evaluator found: bits per byte on the public and on the hidden files (lower is better), model size, probes."""

    public: float
    holdout: float
    parameter_count: int
    probes: tuple[Probe, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every probe was run and passed."""
        return {probe.name for probe in self.probes} == set(_PROBE_NAMES) and all(probe.is_passed for probe in self.probes)

    @classmethod
    def from_json(cls, value: object) -> "Score":
        """Read a score strictly.

        Raises:
            MalformedScore: with the field and what is allowed.
        """
        read = fields.Fields(value, known=_SCORE_FIELDS, error=MalformedScore)
        score = cls(
            public=read.number("public", 0, LARGEST_SCORE),
            holdout=read.number("holdout", 0, LARGEST_SCORE),
            parameter_count=read.integer("parameter_count", 1, 10**12),
            probes=tuple(_probe(one, index) for index, one in enumerate(read.items("probes", 0, len(_PROBE_NAMES)))),
        )
        if len({probe.name for probe in score.probes}) != len(score.probes):
            raise MalformedScore("probes", "give each probe once")
        return score

    def to_json(self) -> dict[str, object]:
        """Return the score as plain JSON values; `from_json` gives it back."""
        plain: dict[str, object] = dataclasses.asdict(self)
        return plain | {"probes": [dataclasses.asdict(probe) for probe in self.probes]}


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Turn logits (..., vocabulary) into natural log-probabilities in float64; whatever the model returns is normalised here.

    Raises:
        NotScorable: a logit is infinite or not a number, or there is none.
    """
    exact = np.asarray(logits, dtype=np.float64)
    if exact.ndim == 0 or exact.size == 0 or not np.isfinite(exact).all():
        raise NotScorable("Return finite logits for every position and token.")
    shifted = exact - exact.max(axis=-1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def nll_nats(logits: Floats, targets: NDArray[np.integer[Any]]) -> float:
    """Sum the negative log-probabilities of the targets: logits (..., vocabulary), targets (...).

    Raises:
        NotScorable: shapes that do not agree, a target outside the vocabulary, or logits that are not finite.
    """
    if logits.shape[:-1] != targets.shape or targets.size == 0 or targets.min() < 0 or targets.max() >= logits.shape[-1]:
        raise NotScorable("Return logits of the shape (rows, positions, vocabulary) that was asked for.")
    chosen = np.take_along_axis(log_softmax(logits), targets[..., None].astype(np.int64), axis=-1)
    return -math.fsum(chosen.ravel().tolist())


def bits_per_byte(nll_nats_sum: float, byte_count: int) -> float:
    """Convert a sum of negative log-probabilities in nats over so many bytes of text: nats / (ln 2 x bytes)."""
    return nll_nats_sum / (math.log(2) * byte_count)


def probe_truncated(full: Floats, truncated: Floats, *, is_bf16: bool = False) -> Probe:
    """Compare logits (positions, vocabulary) of positions in a whole input with those where the input ends there."""
    return _compared("truncated", full, truncated, is_bf16)


def probe_row_alone(in_batch: Floats, alone: Floats, *, is_bf16: bool = False) -> Probe:
    """Compare logits (positions, vocabulary) of rows in a batch with those of each row alone."""
    return _compared("row_alone", in_batch, alone, is_bf16)


def probe_state(first: Floats, again: Floats, *, is_bf16: bool = False) -> Probe:
    """Compare logits (positions, vocabulary) of an input with those of the same input later."""
    return _compared("state", first, again, is_bf16)


def probe_order(in_order: Floats, shuffled: Floats, *, is_bf16: bool = False) -> Probe:
    """Compare logits (positions, vocabulary) of rows with those of the same rows sent in another order, put back."""
    return _compared("order", in_order, shuffled, is_bf16)


def probe_normalised(log_probabilities: Floats) -> Probe:
    """Check that every row of natural log-probabilities (positions, vocabulary) adds up to one."""
    exact = np.asarray(log_probabilities, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        departures = np.abs(np.log(np.exp(exact).sum(axis=-1)))
    return _probed("normalised", departures, TOLERANCES["normalised"])


def _compared(name: str, first: Floats, second: Floats, is_bf16: bool) -> Probe:
    tolerance = TOLERANCES[name] * (LOOSER_IN_BF16 if is_bf16 else 1)
    if first.shape != second.shape:
        raise NotScorable("Return logits of the shape (rows, positions, vocabulary) that was asked for.")
    return _probed(name, np.abs(log_softmax(first) - log_softmax(second)).max(axis=-1), tolerance)


def _probed(name: str, differences: NDArray[np.float64], tolerance: float) -> Probe:
    if differences.size == 0:
        raise NotScorable("A probe looks at one position or more.")
    known = np.nan_to_num(differences.ravel(), nan=LARGEST_SCORE, posinf=LARGEST_SCORE).clip(0, LARGEST_SCORE)
    return Probe(
        name=name,
        largest=float(known.max()),
        tolerance=tolerance,
        positions=known.size,
        positions_beyond=int((known > tolerance).sum()),
    )


_SCORE_FIELDS = frozenset(field.name for field in dataclasses.fields(Score))
_PROBE_FIELDS = frozenset(field.name for field in dataclasses.fields(Probe))


def _probe(value: object, index: int) -> Probe:
    read = fields.Fields(value, known=_PROBE_FIELDS, error=MalformedScore, at=f"probes[{index}]")
    probe = Probe(
        name=read.text("name", _RULE, f"give one of {', '.join(_PROBE_NAMES)}"),
        largest=read.number("largest", 0, LARGEST_SCORE),
        tolerance=read.number("tolerance", 0, 1),
        positions=read.integer("positions", 1, 10**9),
        positions_beyond=read.integer("positions_beyond", 0, 10**9),
    )
    # A trusted evaluator decides nothing that the published limits do not say.
    allowed = TOLERANCES[probe.name] * LOOSER_IN_BF16
    if (
        probe.tolerance > allowed
        or probe.positions_beyond > probe.positions
        or (probe.positions_beyond == 0) != (probe.largest <= probe.tolerance)
    ):
        raise MalformedScore(
            f"probes[{index}]", "largest, tolerance and positions_beyond must agree with each other and the published limits"
        )
    return probe
