"""When enough pairs of runs have been seen: a sequential test of a candidate's gain, and the gain that is paid. No runs and no money.

A pair is the score of the tip and of the candidate on one seed; its gain is tip - candidate, since lower scores are better. Gains are
taken as normal. Their mean is judged between ``min_effect / 2`` and ``1.5 x min_effect``; their standard deviation is unknown: a spec
says what is expected, and a candidate may be several times as noisy, which a test that believes the spec takes for a gain.

After n pairs with mean gain x and sum of squares S about it, with d = min_effect and s0 the least standard deviation believed:

- ``llr = n d (x - d) / v`` is Wald's log-likelihood ratio of means 1.5 d and d / 2 (Sequential Analysis, 1947) with the variance
  ``v = max(s0^2, (3 s0^2 + S) / (n + 2))``, that of a scaled inverse chi-squared prior with three degrees of freedom at s0 (Gelman et
  al., Bayesian Data Analysis, section 3.3), never below the prior.
- It is rejected at ``lower = -1 + 0.13 n d^2 / v``, which rises with n as in Whitehead's triangular test (Biometrika 70, 1983).
- It is accepted at ``upper``: the llr where a generalised likelihood ratio reaches `_evidence`. It is that of "any mean, any standard
  deviation from s0" against "mean 0, any standard deviation from s0" (Lai, Annals of Statistics 16, 1988): scattered pairs are as likely
  under a mean of 0 and a larger standard deviation, so scatter lifts the bar. Never below 1.5, and never after one pair.

The figures were set by simulation and are held by tests/verification/replay/test_sequential_rates.py. For standard deviations up to six
times the spec's, and up to that of independent runs, a candidate whose true gain is 0 or less is accepted with at most 0.5 %. With a true
standard deviation of up to 0.7 d and 12 pairs, one that gains 2 d is not accepted with at most 5 %, and those that gain 2 d and more
with at most 1 % on average. Gains that are not normal void both: a candidate that fails on one seed in twenty and gains on the others
is judged by the seeds that were drawn.
"""

import dataclasses
import functools
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from verification.replay import fields

Floats = NDArray[np.float64]
Decision = Literal["CONTINUE", "ACCEPT", "REJECT", "INCONCLUSIVE"]
Mode = Literal["paired", "unpaired"]

# The error rate that `_evidence` is set for: chance to accept a candidate without a gain.
ALPHA = 0.005
# No gain is so large that one seed shows it: the first pair may be on a seed that the claimant knows.
LEAST_PAIRS = 2
MAX_BASELINES = 256
# The error rates above are those of specs whose paired gains deviate by so many min_effects at most.
MOST_PAIRED_DEVIATION = 0.71

_PRIOR_DEGREES = 3
_LEAST_UPPER = 1.5
# Above every statistic, and finite, so that a path can be written as JSON.
_NEVER = 1e300
_LOWER_AT_FIRST = -1.0
_LOWER_RISE = 0.13
# A poster may believe in pairing too much: the least standard deviation believed is a share of that of one score.
_LEAST_PAIRED_SHARE = 0.125
# Pairing is given up where the tip's cached scores promise so much more precision, from so many pairs and scores on.
_UNPAIRED_ADVANTAGE = 1.25
_UNPAIRED_FROM_PAIRS = 4
_UNPAIRED_FROM_BASELINES = 8
# Standard deviation of true gains, in min_effects, that the paid gain is shrunk towards zero with.
_PRIOR_GAINS = 2.0


class Decided(Exception):
    """The test is over: it takes no more pairs."""


class MalformedTest(fields.Malformed):
    """What was stored is no test; ``param`` names the field."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """The scores of the tip and of the candidate on one seed, lower is better."""

    tip_score: float
    candidate_score: float


@dataclasses.dataclass(frozen=True)
class Point:
    """The test after so many pairs: its statistic, and where it is accepted (at or above) or rejected (at or below)."""

    pairs: int
    llr: float
    upper: float
    lower: float


@dataclasses.dataclass(frozen=True)
class _Summary:
    """Mean gain, sum of squares, the least variance believed, and the pairs that the mean is worth (fewer where the tip's is uncertain)."""

    mode: Mode
    mean: float
    squares: float
    least_variance: float
    worth: float


@dataclasses.dataclass(frozen=True)
class Sequential:
    """A test in progress; immutable, `after` gives the next.

    ``min_effect``, ``unpaired_sd`` (of one score) and ``paired_sd`` (of a paired gain) are the spec's. ``baselines`` are scores of the
    tip on other seeds: with them, pairs that do not go together are judged by the means instead (Welch's variance of a difference).
    """

    min_effect: float
    unpaired_sd: float
    paired_sd: float
    max_pairs: int
    baselines: tuple[float, ...] = ()
    pairs: tuple[Pair, ...] = ()

    def after(self, pair: Pair) -> "Sequential":
        """Return the test with one pair more.

        Raises:
            Decided: it is over.
            MalformedTest: a score is not a finite number from 0 to 10**6.
        """
        if self.decision != "CONTINUE":
            raise Decided(f"The test ended with {self.decision} after {len(self.pairs)} pairs.")
        scores = (_score(pair.tip_score, "tip_score"), _score(pair.candidate_score, "candidate_score"))
        return dataclasses.replace(self, pairs=(*self.pairs, Pair(*scores)))

    @property
    def path(self) -> tuple[Point, ...]:
        """The test after each pair, as it is plotted."""
        return tuple(self._point(count) for count in range(1, len(self.pairs) + 1))

    @functools.cached_property
    def _last(self) -> Point:
        return self._point(len(self.pairs))

    @property
    def decision(self) -> Decision:
        """ACCEPT, REJECT, INCONCLUSIVE after ``max_pairs``, or CONTINUE."""
        if not self.pairs:
            return "CONTINUE"
        last = self._last
        if last.llr >= last.upper:
            return "ACCEPT"
        if last.llr <= last.lower:
            return "REJECT"
        return "INCONCLUSIVE" if len(self.pairs) >= self.max_pairs else "CONTINUE"

    @property
    def mode(self) -> Mode:
        """Whether gains are judged pair by pair, or by the means of the candidate's and the tip's scores."""
        return self._summary(len(self.pairs)).mode if self.pairs else "paired"

    @property
    def gain(self) -> float:
        """The mean gain seen; 0 before the first pair. It flatters those who are accepted: pay `shrunk_gain`."""
        return self._summary(len(self.pairs)).mean if self.pairs else 0.0

    @property
    def shrunk_gain(self) -> float:
        """The gain to pay for: 0 unless accepted, then the posterior mean of a normal gain, never above `gain`.

        The prior is centred on 0 with a standard deviation of 2 ``min_effect``: gain x t^2 / (t^2 + v / n). The noisier the pairs and
        the fewer, the less of a lucky gain is paid.
        """
        if self.decision != "ACCEPT":
            return 0.0
        summary, count = self._summary(len(self.pairs)), len(self.pairs)
        error = float(variance(summary.squares, count, summary.least_variance)) / summary.worth
        return float(shrunk(summary.mean, error, self.min_effect))

    def to_json(self) -> dict[str, object]:
        """Return the test as plain JSON values; `from_json` gives it back."""
        plain: dict[str, object] = dataclasses.asdict(self)
        pairs = [[pair.tip_score, pair.candidate_score] for pair in self.pairs]
        return plain | {"baselines": list(self.baselines), "pairs": pairs}

    @classmethod
    def from_json(cls, value: object) -> "Sequential":
        """Read a test that `to_json` wrote.

        Raises:
            MalformedTest: a field is not of its shape, or a pair was added after the decision.
        """
        read = fields.Fields(value, known=_FIELDS, error=MalformedTest)
        test = cls(
            min_effect=read.number("min_effect", 1e-9, 100),
            unpaired_sd=read.number("unpaired_sd", 1e-12, 100),
            paired_sd=read.number("paired_sd", 1e-12, 100),
            max_pairs=read.integer("max_pairs", 2, 32),
            baselines=read.numbers("baselines", 0, MAX_BASELINES, 0, _LARGEST_SCORE),
        )
        for index, pair in enumerate(read.items("pairs", 0, 32)):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise MalformedTest(f"pairs[{index}]", "give the tip's and the candidate's score")
            try:
                test = test.after(Pair(*pair))
            except Decided as wrong:
                raise MalformedTest(f"pairs[{index}]", "the test was over before this pair") from wrong
        return test

    def _point(self, count: int) -> Point:
        summary = self._summary(count)
        llr, upper, lower = statistic(
            summary.mean,
            summary.squares,
            count,
            worth=summary.worth,
            min_effect=self.min_effect,
            least_variance=summary.least_variance,
            max_pairs=self.max_pairs,
        )
        return Point(pairs=count, llr=float(llr), upper=float(upper), lower=float(lower))

    def _summary(self, count: int) -> _Summary:
        tips = np.array([pair.tip_score for pair in self.pairs[:count]])
        candidates = np.array([pair.candidate_score for pair in self.pairs[:count]])
        paired = _Summary("paired", *_moments(tips - candidates), least_paired_variance(self.paired_sd, self.unpaired_sd), float(count))
        if count < _UNPAIRED_FROM_PAIRS or len(self.baselines) < _UNPAIRED_FROM_BASELINES:
            return paired
        unpaired = self._unpaired(tips, candidates)
        return unpaired if _precision(unpaired, count) > _UNPAIRED_ADVANTAGE * _precision(paired, count) else paired

    def _unpaired(self, tips: Floats, candidates: Floats) -> _Summary:
        of_tip = np.concatenate([tips, np.array(self.baselines)])
        tip_mean, tip_squares = _moments(of_tip)
        mean, squares = _moments(candidates)
        least = self.unpaired_sd**2
        own = float(variance(squares, len(candidates), least)) / len(candidates)
        tips_own = float(variance(tip_squares, len(of_tip), least)) / len(of_tip)
        return _Summary("unpaired", tip_mean - mean, squares, least, len(candidates) * own / (own + tips_own))


def least_paired_variance(paired_sd: float, unpaired_sd: float) -> float:
    """Return the least variance of a paired gain that is believed: the spec's, at least a 64th of one score's."""
    return max(paired_sd, _LEAST_PAIRED_SHARE * unpaired_sd) ** 2


def variance(squares: Any, count: Any, least: float) -> Any:
    """Return the variance that is reckoned with after ``count`` gains whose squares about their mean sum to ``squares``."""
    return np.maximum((_PRIOR_DEGREES * least + squares) / (_PRIOR_DEGREES + count - 1), least)


def shrunk(mean: Any, error: Any, min_effect: float) -> Any:
    """Return the posterior mean of a gain seen as ``mean`` with the variance ``error``, at least 0."""
    prior = (_PRIOR_GAINS * min_effect) ** 2
    return np.maximum(mean, 0.0) * prior / (prior + error)


def statistic(
    mean: Any, squares: Any, count: Any, *, worth: Any, min_effect: float, least_variance: float, max_pairs: int
) -> tuple[Any, Any, Any]:
    """Return llr, upper and lower after ``count`` pairs; arrays of one shape are judged all at once.

    ``worth`` is ``count`` for pairs.
    """
    reckoned = variance(squares, count, least_variance)
    scale = worth * min_effect / reckoned
    # The sum of squares about zero where the generalised likelihood ratio reaches what is asked for; it rises with the mean.
    spread = np.maximum(squares / count, least_variance)
    asked = _evidence(max_pairs) + count / 2 * np.log(spread) + squares / (2 * spread)
    below = asked - count / 2 * math.log(least_variance)
    about_zero = np.where(
        below <= count / 2, 2 * least_variance * below, count * least_variance * np.exp(np.minimum(2 * below / count - 1, 600))
    )
    bar = np.sqrt(np.maximum(about_zero - squares, 0) / worth)
    upper = np.where(count < LEAST_PAIRS, _NEVER, np.maximum(scale * (bar - min_effect), _LEAST_UPPER))
    return scale * (mean - min_effect), upper, _LOWER_AT_FIRST + _LOWER_RISE * scale * min_effect


def _evidence(max_pairs: int) -> float:
    """Return the logarithm of the likelihood ratio asked for: 1 / `ALPHA`, more for the fitted mean and deviation and for every look."""
    return math.log(1 / ALPHA) + 1.2 + 0.3 * math.log(max(max_pairs / 12, 1.0))


def _precision(summary: _Summary, count: int) -> float:
    return summary.worth / float(variance(summary.squares, count, summary.least_variance))


def _moments(values: Floats) -> tuple[float, float]:
    mean = float(values.mean())
    return mean, float(((values - mean) ** 2).sum())


_LARGEST_SCORE = 1e6
_FIELDS = frozenset(field.name for field in dataclasses.fields(Sequential))


def _score(value: object, param: str) -> float:
    return fields.number(value, 0, _LARGEST_SCORE, param=param, error=MalformedTest)
