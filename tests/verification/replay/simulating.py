"""Simulated pairs, judged all at once by the figures that `Sequential` uses: true gains, noise and claims as the tests need them."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from verification.replay import sequential

Floats = NDArray[np.float64]

# The claimant of the research figures: twenty edits with true gains N(-2, 2) in min_effects, each measured once with noise of one
# min_effect, the best of them sent. 15 % of these have no gain, and what is claimed is 1.6 times the truth.
EDITS = 20


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What became of many candidates, one row each: pairs run, accepted or rejected, the mean gain seen and the gain paid for."""

    pairs: NDArray[np.intp]
    is_accepted: NDArray[np.bool_]
    is_rejected: NDArray[np.bool_]
    gains: Floats
    paid: Floats


def claims(dice: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Return true gains and claimed gains, in min_effects, of candidates that are each the best of `EDITS`."""
    true = dice.normal(-2, 2, (count, EDITS))
    measured = true + dice.normal(0, 1, true.shape)
    best = measured.argmax(axis=1)
    rows = np.arange(count)
    return true[rows, best], measured[rows, best]


def pairs(dice: np.random.Generator, true: Floats, deviation: float, max_pairs: int, *, tail: int | None = None) -> Floats:
    """Return gains of pairs, one row a candidate; ``tail`` draws the noise from Student's t of so many degrees, of the same deviation."""
    shape = (len(true), max_pairs)
    noise = dice.normal(size=shape) if tail is None else dice.standard_t(tail, shape) * np.sqrt((tail - 2) / tail)
    return true[:, None] + deviation * noise


def judged(gains: Floats, *, paired_sd: float, unpaired_sd: float) -> Verdicts:
    """Judge rows of paired gains, in min_effects, until each is decided."""
    max_pairs = gains.shape[1]
    count = np.arange(1, max_pairs + 1)
    means = np.cumsum(gains, axis=1) / count
    squares = np.maximum(np.cumsum(gains**2, axis=1) - count * means**2, 0)
    least = sequential.least_paired_variance(paired_sd, unpaired_sd)
    llr, upper, lower = sequential.statistic(means, squares, count, worth=count, min_effect=1.0, least_variance=least, max_pairs=max_pairs)
    accepted = llr >= upper
    over = accepted | (llr <= lower)
    last = np.where(over.any(axis=1), over.argmax(axis=1), max_pairs - 1)
    rows = np.arange(len(gains))
    is_accepted = accepted[rows, last]
    error = sequential.variance(squares[rows, last], last + 1, least) / (last + 1)
    paid = np.where(is_accepted, sequential.shrunk(means[rows, last], error, 1.0), 0.0)
    return Verdicts(last + 1, is_accepted, over[rows, last] & ~is_accepted, means[rows, last], paid)
