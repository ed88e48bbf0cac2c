"""How often the verdict on a candidate is wrong and how many runs it takes, beside what others do with the same simulated candidates.

``python -m tests.benchmarks.replay_statistics``: no database, no training, numbers alone. Gains are in min_effects, and a score has a
standard deviation of one of them; a paired gain has 1/4 or 1/16 of the variance of two unpaired scores (``tests/verification/replay``
says how claims are drawn). Every rate stands with the number it was counted from and its 95 % interval: Clopper and Pearson's up
to a thousand events, Wilson's beyond.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.faults import campaign
from tests.verification.replay import simulating
from verification import calibration
from verification.replay import policy, seeds
from verification.replay.sequential import Pair, Sequential
from verification.research import rules

MODULE = "tests.benchmarks.replay_statistics"

GAINS = (-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
CANDIDATES_A_ROUND = 20_000
MAX_PAIRS = 12
UNPAIRED_SD = 1.0
PAIRED_SDS = {"1/4": math.sqrt(2) / 2, "1/16": math.sqrt(2) / 4}
# What may not be exceeded, by the intervals' lower ends: a promise is broken when the figures cannot be explained otherwise.
MOST_FALSE_ACCEPTS, MOST_FALSE_REJECTS, MOST_AT_TWICE, MOST_RUNS, MOST_TRUSTED = 0.005, 0.01, 0.05, 4.0, 0.05
# Two owners run a baseline before it counts.
BASELINE_OWNERS = 2
BASELINES = 16
# What a claimant may do who has learnt the seeds that owners have seen.
VARIANTS, KNOWN_SEEDS = 1000, 8
# Scores are above zero.
_LEVEL = 100.0

Rows = NDArray[np.bool_]
Floats = NDArray[np.float64]


def main() -> None:
    """Run it as a command."""
    campaign.command(
        MODULE, description="Simulate verdicts on candidates whose true gain is known.", rounds=10, run=run, has_database=False
    )


def run(options: argparse.Namespace) -> campaign.Report:
    """Simulate ``rounds`` times `CANDIDATES_A_ROUND` candidates of every kind."""
    report, count = campaign.Report(), options.rounds * CANDIDATES_A_ROUND
    report.figures["candidates of each kind"] = count
    for name, paired_sd in PAIRED_SDS.items():
        _by_gain(report, np.random.default_rng((options.seed, 1)), count, name, paired_sd)
        _by_claim(report, np.random.default_rng((options.seed, 2)), count, name, paired_sd)
    _averaged(report)
    _noisier(report, np.random.default_rng((options.seed, 3)), count)
    _by_others(report, np.random.default_rng((options.seed, 4)), count)
    _in_a_stream(report, options.seed, options.rounds)
    _who_knows_seeds(report, np.random.default_rng((options.seed, 6)), options.rounds)
    _audits(report)
    return report


def _by_gain(report: campaign.Report, dice: np.random.Generator, count: int, name: str, paired_sd: float) -> None:
    for gain in GAINS:
        gains = simulating.pairs(dice, np.full(count, gain), paired_sd, MAX_PAIRS)
        found = simulating.judged(gains, paired_sd=paired_sd, unpaired_sd=UNPAIRED_SD)
        at = f"variance {name}, true gain {gain:g}"
        report.figures[f"{at}: accepted"] = rate(found.is_accepted)
        report.figures[f"{at}: rejected"] = rate(found.is_rejected)
        report.figures[f"{at}: inconclusive"] = rate(~found.is_accepted & ~found.is_rejected)
        report.figures[f"{at}: runs, baselines cached"] = mean(found.pairs)
        report.figures[f"{at}: runs, none cached"] = mean(2 * found.pairs)
        if gain <= 0:
            _hold(report, found.is_accepted, MOST_FALSE_ACCEPTS, f"{at}: accepted")
        if gain >= 2:
            _hold(report, ~found.is_accepted, MOST_AT_TWICE, f"{at}: not accepted")


def _by_claim(report: campaign.Report, dice: np.random.Generator, count: int, name: str, paired_sd: float) -> None:
    true, claimed = simulating.claims(dice, count)
    found = simulating.judged(simulating.pairs(dice, true, paired_sd, MAX_PAIRS), paired_sd=paired_sd, unpaired_sd=UNPAIRED_SD)
    at, accepted = f"variance {name}, claims", found.is_accepted
    report.figures[f"{at}: without a gain"] = rate(true <= 0)
    report.figures[f"{at}: claimed / true"] = f"{claimed.mean() / true.mean():.3f}"
    _errors(report, at, true, accepted)
    report.figures[f"{at}: inconclusive"] = rate(~accepted & ~found.is_rejected)
    report.figures[f"{at}: runs, baselines cached"] = mean(found.pairs)
    report.figures[f"{at}: runs, none cached"] = mean(2 * found.pairs)
    report.figures[f"{at}: claimed / true of accepted"] = f"{claimed[accepted].mean() / true[accepted].mean():.3f}"
    report.figures[f"{at}: seen / true of accepted"] = f"{found.gains[accepted].mean() / true[accepted].mean():.3f}"
    report.figures[f"{at}: paid for / true of accepted"] = f"{found.paid[accepted].mean() / true[accepted].mean():.3f}"
    _hold(report, accepted[true <= 0], MOST_FALSE_ACCEPTS, f"{at}: false accepts")
    _hold(report, ~accepted[true >= 2], MOST_FALSE_REJECTS, f"{at}: false rejects")


def _averaged(report: campaign.Report) -> None:
    both = [report.figures[f"variance {name}, claims: runs, baselines cached"] for name in PAIRED_SDS]
    runs = sum(float(str(one).split()[0]) for one in both) / len(both)
    shared = BASELINE_OWNERS / rules.SEED_USES
    report.figures["claims of both, runs a verdict: baselines cached"] = f"{runs:.2f}"
    report.figures["claims of both, runs a verdict: two baseline runs a seed for 8 candidates"] = f"{runs * (1 + shared):.2f}"
    report.figures["claims of both, runs a verdict: none cached"] = f"{2 * runs:.2f}"
    if runs > MOST_RUNS:
        report.violations.append(f"{runs:.2f} runs a verdict, more than {MOST_RUNS:g}")


def _noisier(report: campaign.Report, dice: np.random.Generator, count: int) -> None:
    """Candidates whose paired gains are noisier than the spec says, and a test that believes the spec (Wald's, 0.005 and 0.05)."""
    for name, paired_sd in PAIRED_SDS.items():
        for times in (1, 2, 3):
            for gain in (0.0, 2.0):
                gains = simulating.pairs(dice, np.full(count, gain), times * paired_sd, MAX_PAIRS)
                found = simulating.judged(gains, paired_sd=paired_sd, unpaired_sd=UNPAIRED_SD)
                at = f"variance {name}, {times} x the spec's deviation, true gain {gain:g}: accepted"
                report.figures[at] = rate(found.is_accepted)
                report.figures[f"{at} by Wald's test that believes the spec"] = rate(_wald(gains, paired_sd))
                if gain == 0:
                    _hold(report, found.is_accepted, MOST_FALSE_ACCEPTS, at)


def _wald(gains: Floats, paired_sd: float) -> Rows:
    llr = np.cumsum((gains - 1) / paired_sd**2, axis=1)
    accepted = llr >= math.log(0.95 / 0.005)
    over = accepted | (llr <= math.log(0.05 / 0.995))
    last = np.where(over.any(axis=1), over.argmax(axis=1), gains.shape[1] - 1)
    decided: Rows = accepted[np.arange(len(gains)), last]
    return decided


def _by_others(report: campaign.Report, dice: np.random.Generator, count: int) -> None:
    """Judge the same claims as others do: by trust, by one run, by tolerance, by three runs and a t-test's threshold."""
    true, claimed = simulating.claims(dice, count)
    known = dice.normal(0, UNPAIRED_SD / math.sqrt(BASELINES), count)
    first = true + dice.normal(0, UNPAIRED_SD, count)
    three = true + dice.normal(0, UNPAIRED_SD / math.sqrt(3), count) - known
    quantile_99 = 2.326347874
    ways: dict[str, tuple[Callable[[], Rows], int]] = {
        "trust the claim": (lambda: np.ones(count, dtype=bool), 0),
        "one re-run beats one baseline run": (lambda: first - dice.normal(0, UNPAIRED_SD, count) > 0, 1),
        "one re-run within 2 of the claim": (lambda: np.abs(first - dice.normal(0, UNPAIRED_SD, count) - claimed) <= 2, 1),
        "3 seeds, p < .01, 16 baselines": (lambda: three > quantile_99 * UNPAIRED_SD * math.sqrt(1 / 3 + 1 / BASELINES), 3),
    }
    for name, (way, runs) in ways.items():
        _errors(report, name, true, way())
        report.figures[f"{name}: runs, baselines cached"] = runs


def _in_a_stream(report: campaign.Report, seed: int, rounds: int) -> None:
    """Judge candidates one after another, each accepted one being the next tip, whose scores on its seeds are then the baselines.

    A tree's score on a seed has a part of its own, which stays with it when it is the tip: whoever was lucky is harder to beat there.
    """
    for name, paired_sd in {**PAIRED_SDS, "1/64": math.sqrt(2) / 8}.items():
        for is_kept in (True, False):
            dice = np.random.default_rng((seed, 5))
            true, _ = simulating.claims(dice, 200 * rounds)
            stream = _Stream(dice, paired_sd=paired_sd, is_kept=is_kept)
            accepted = np.array([stream.judge(float(gain)) for gain in true])
            how = "the winner's runs are baselines" if is_kept else "every tip has new baselines"
            at = f"variance {name}, one tip after another, {how}"
            report.figures[f"{at}: runs a verdict"] = f"{stream.runs / len(true):.2f} (n {len(true):,})"
            if is_kept:
                report.figures[f"{at}: accepted"] = rate(accepted)
                _errors(report, at, true, accepted)


class _Stream:
    """A task's seeds as `verification.research` deals them out: known ones first, every third new."""

    def __init__(self, dice: np.random.Generator, *, paired_sd: float, is_kept: bool) -> None:
        self.runs = 0
        self._dice = dice
        self._paired_sd = paired_sd
        self._is_kept = is_kept
        # The tip's own part of its score on each seed, and how many candidates each seed has served.
        self._tip: dict[int, float] = {}
        self._uses: dict[int, int] = {}

    def judge(self, true: float) -> bool:
        known = [index for index in self._tip if self._uses[index] < rules.SEED_USES]
        self._dice.shuffle(known)
        test = Sequential(1.0, UNPAIRED_SD, self._paired_sd, MAX_PAIRS)
        own: dict[int, float] = {}
        while test.decision == "CONTINUE":
            if seeds.is_fresh(len(own)) or not known:
                index = len(self._uses)
                self._uses[index] = 0
                self._tip[index] = self._part()
                self.runs += BASELINE_OWNERS
            else:
                index = known.pop()
            self._uses[index] += 1
            self.runs += 1
            own[index] = self._part()
            # A part common to all trees on a seed falls out of the pair.
            test = test.after(Pair(_LEVEL + self._tip[index], _LEVEL - true + own[index]))
        if test.decision == "ACCEPT":
            self._tip = own if self._is_kept else {}
        return test.decision == "ACCEPT"

    def _part(self) -> float:
        return float(self._dice.normal(0, self._paired_sd / math.sqrt(2)))


def _who_knows_seeds(report: campaign.Report, dice: np.random.Generator, rounds: int) -> None:
    """Count how often a claimant gets in who has learnt the known seeds: he sends the luckiest of many variants without a gain."""
    count = 100 * rounds
    orders: dict[str, Callable[[int], bool]] = {
        "every third seed new": seeds.is_fresh,
        "known seeds alone": lambda _: False,
        "new seeds alone": lambda _: True,
    }
    for name, paired_sd in PAIRED_SDS.items():
        for times in (1, 2, 3):
            deviation = times * paired_sd
            best = _luckiest(dice, count, deviation)
            new = simulating.pairs(dice, np.zeros(count), deviation, MAX_PAIRS)
            for order, is_fresh in orders.items():
                known = iter(range(KNOWN_SEEDS))
                places = [None if is_fresh(place) else next(known, None) for place in range(MAX_PAIRS)]
                gains = np.stack([new[:, place] if at is None else best[:, at] for place, at in enumerate(places)], axis=1)
                found = simulating.judged(gains, paired_sd=paired_sd, unpaired_sd=UNPAIRED_SD)
                at_noise = f"variance {name}, {times} x the spec's deviation"
                report.figures[f"luckiest of {VARIANTS:,} on {KNOWN_SEEDS} known seeds, {at_noise}, {order}: accepted"] = rate(
                    found.is_accepted
                )


def _luckiest(dice: np.random.Generator, count: int, deviation: float) -> Floats:
    """Return gains on the known seeds, one row a claimant: of his variants the one with the best mean."""
    rows = np.empty((count, KNOWN_SEEDS))
    for row in range(count):
        tried = dice.normal(0, deviation, (VARIANTS, KNOWN_SEEDS))
        rows[row] = tried[tried.mean(axis=1).argmax()]
    return rows


def _audits(report: campaign.Report) -> None:
    for segments in (10, 50, 100):
        for share in (0.02, 0.1, 0.5, 1.0):
            forged = math.ceil(share * segments)
            for audited in (1, 3, 5):
                chance = policy.detection_probability(segments, forged, audited)
                report.figures[f"audit of {audited} of {segments} segments, {forged} forged: found"] = f"{chance:.4f}"
    for segments in (10, 50, 100):
        # The random segments and the last one; the start is built again too, which trains nothing.
        trained = rules.AUDIT_SHARE * (rules.AUDITED_SEGMENTS + 1) / segments
        report.figures[f"trusted training a replay, owners with a record, {segments} segments"] = f"{100 * trained:.1f} % of a run"
        if trained > MOST_TRUSTED:
            report.violations.append(f"{trained:.3f} of a run is trained by the pool, more than {MOST_TRUSTED:g}")
    for price in (10, 1_00, 100_00):
        report.figures[f"price {price / 100:g}: segments audited of 50"] = policy.segment_count(price, 50)
    for stake in (5, 10, 20):
        report.figures[f"stake {stake} x the gain, 1,000 valid results: audited"] = f"{policy.audit_probability(1000, 1, stake, 10):.4f}"


def _errors(report: campaign.Report, at: str, true: Floats, accepted: Rows) -> None:
    report.figures[f"{at}: false accepts (true gain <= 0)"] = rate(accepted[true <= 0])
    report.figures[f"{at}: false rejects (true gain >= 2)"] = rate(~accepted[true >= 2])


def _hold(report: campaign.Report, errors: Rows, most: float, name: str) -> None:
    low, _ = interval(int(errors.sum()), errors.size)
    if low > most:
        report.violations.append(f"{name} {errors.mean():.4f}, more than {most:g}")


def rate(found: Rows) -> str:
    """Write a rate in percent with its interval and the number it was counted from."""
    low, high = interval(int(found.sum()), found.size)
    return f"{100 * found.mean():.3f} % ({100 * low:.3f} to {100 * high:.3f}, n {found.size:,})"


def interval(events: int, count: int) -> tuple[float, float]:
    """Return the two-sided 95 % interval of a rate: exact where either outcome is rare, else Wilson's (1927)."""
    if events > count - events:
        low, high = interval(count - events, count)
        return 1 - high, 1 - low
    if events <= 1000:
        low = calibration.rate_lower(successes=events, count=count, confidence=0.975)
        return low, calibration.rate_upper(errors=events, count=count, confidence=0.975)
    z, seen = 1.959964, events / count
    middle = (seen + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(seen * (1 - seen) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def mean(numbers: NDArray[np.intp]) -> str:
    """Write a mean with its 95 % interval and the number it was taken over."""
    half = 1.96 * float(numbers.std()) / math.sqrt(numbers.size)
    return f"{numbers.mean():.3f} (+- {half:.3f}, n {numbers.size:,})"


if __name__ == "__main__":
    main()
