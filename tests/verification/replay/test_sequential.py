"""One test of one candidate: what it decides, stores and pays for."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.verification.replay import simulating, terms
from verification.replay import sequential
from verification.replay.sequential import Decided, MalformedTest, Pair, Sequential

NEW = Sequential(min_effect=0.01, unpaired_sd=0.0283, paired_sd=0.005, max_pairs=12)
_GAINS = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12)


def run(gains: list[float], test: Sequential = NEW) -> Sequential:
    """Judge gains until the test is over."""
    for gain in gains:
        if test.decision != "CONTINUE":
            break
        test = test.after(Pair(tip_score=100.0, candidate_score=100.0 - gain))
    return test


def test_begins_undecided() -> None:
    assert (NEW.decision, NEW.mode, NEW.gain, NEW.shrunk_gain, NEW.path) == ("CONTINUE", "paired", 0.0, 0.0, ())


def test_accepts_a_steady_gain_and_pays_a_little_less() -> None:
    test = run([0.031, 0.029, 0.030, 0.032])
    assert (test.decision, len(test.pairs)) == ("ACCEPT", 3)
    assert test.gain == pytest.approx(0.030)
    assert 0.027 < test.shrunk_gain < test.gain


def test_rejects_a_loss_at_once_and_pays_nothing() -> None:
    test = run([-0.01])
    assert (test.decision, test.shrunk_gain) == ("REJECT", 0.0)


def test_rejects_a_real_gain_that_is_too_small() -> None:
    assert run([0.0001, 0.00011, 0.00009]).decision == "REJECT"
    assert run([0.002] * 12).decision == "REJECT"


def test_does_not_believe_scattered_gains() -> None:
    # The mean is 2.5 min_effects, but so would a mean of zero explain it.
    assert run([0.08, -0.03, 0.09, -0.04, 0.025]).decision == "CONTINUE"


def test_one_lucky_pair_is_not_enough() -> None:
    assert run([0.05]).decision == "CONTINUE"
    assert run([100.0]).decision == "CONTINUE"
    assert run([100.0, 100.0]).decision == "ACCEPT"


def test_ends_inconclusive_after_the_last_pair() -> None:
    test = run([0.0125, 0.02, 0.005, 0.019, 0.006], Sequential(0.01, 0.0283, 0.014, 5))
    assert (test.decision, test.shrunk_gain) == ("INCONCLUSIVE", 0.0)


def test_takes_no_pair_after_the_end() -> None:
    with pytest.raises(Decided, match="REJECT after 1"):
        run([-0.01]).after(Pair(2.0, 2.0))


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1e7, "2.0", None, True])
def test_refuses_what_is_no_score(score: object) -> None:
    with pytest.raises(MalformedTest):
        NEW.after(Pair(2.0, score))  # type: ignore[arg-type]
    with pytest.raises(MalformedTest):
        NEW.after(Pair(score, 2.0))  # type: ignore[arg-type]


@given(_GAINS)
def test_reads_back_what_it_writes(gains: list[float]) -> None:
    test = run(gains)
    again = Sequential.from_json(json.loads(json.dumps(test.to_json())))
    assert (again, again.path, again.decision) == (test, test.path, test.decision)


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": [[2.0, 2.5], [2.0, 2.0]]},
        {"pairs": [[2.0]]},
        {"pairs": [[2.0, math.nan]]},
        {"min_effect": 0},
        {"max_pairs": 33},
        {"baselines": [math.inf]},
        {"decision": "ACCEPT"},
    ],
)
def test_refuses_what_it_did_not_write(change: dict[str, object]) -> None:
    with pytest.raises(MalformedTest):
        Sequential.from_json(NEW.to_json() | change)


@given(terms.JSON)
def test_raises_nothing_else(value: object) -> None:
    with pytest.raises(MalformedTest):
        Sequential.from_json(value)


@given(_GAINS)
def test_the_path_shows_the_decision(gains: list[float]) -> None:
    test = run(gains)
    assert [point.pairs for point in test.path] == list(range(1, len(test.pairs) + 1))
    assert all(math.isfinite(value) for point in test.path for value in (point.llr, point.upper, point.lower))
    assert all(point.lower < point.llr < point.upper for point in test.path[:-1])
    last = test.path[-1]
    assert (test.decision == "ACCEPT") == (last.llr >= last.upper)
    assert (test.decision == "REJECT") == (last.lower >= last.llr < last.upper)


@given(_GAINS, st.floats(0, 0.1))
def test_a_better_candidate_is_never_judged_worse(gains: list[float], better: float) -> None:
    order = {"REJECT": 0, "INCONCLUSIVE": 1, "CONTINUE": 1, "ACCEPT": 2}
    test, other = run(gains), run([gain + better for gain in gains])
    assume(len(test.pairs) == len(other.pairs))
    assert order[other.decision] >= order[test.decision]
    assert other.shrunk_gain >= test.shrunk_gain - 1e-12


@given(_GAINS)
def test_pays_at_most_the_gain_seen_and_never_less_than_nothing(gains: list[float]) -> None:
    test = run(gains)
    assert 0.0 <= test.shrunk_gain <= max(0.0, test.gain)
    assert test.decision == "ACCEPT" or test.shrunk_gain == 0.0


@given(_GAINS, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(gains: list[float], unit: float) -> None:
    def scaled(by: float) -> Sequential:
        test = Sequential(0.01 * by, 0.0283 * by, 0.005 * by, 12)
        for gain in gains:
            if test.decision == "CONTINUE":
                test = test.after(Pair(2.0 * by, (2.0 - gain) * by))
        return test

    test, other = scaled(1.0), scaled(unit)
    nearest = min((abs(point.llr - bound) for point in test.path for bound in (point.upper, point.lower)), default=1.0)
    assume(nearest > 1e-6)
    assert other.decision == test.decision
    assert other.shrunk_gain == pytest.approx(test.shrunk_gain * unit, rel=1e-6, abs=1e-9 * unit)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(-10, 10), st.floats(0, 10))
def test_less_is_paid_for_more_noise_and_more_for_a_larger_gain(error: float, noise: float, gain: float, better: float) -> None:
    paid = float(sequential.shrunk(gain, error, 1.0))
    assert sequential.shrunk(gain, error + noise, 1.0) <= paid <= sequential.shrunk(gain + better, error, 1.0)


def test_agrees_with_the_simulation_of_many_at_once() -> None:
    dice = np.random.default_rng(8)
    gains = simulating.pairs(dice, dice.normal(1.3, 1.3, 300), 0.6, 12)
    many = simulating.judged(gains, paired_sd=0.5, unpaired_sd=1.0)
    for row in range(len(gains)):
        test = run(gains[row].tolist(), Sequential(1.0, 1.0, 0.5, 12))
        assert len(test.pairs) == many.pairs[row]
        assert (test.decision == "ACCEPT") == many.is_accepted[row]
        assert (test.decision == "REJECT") == many.is_rejected[row]
        assert test.shrunk_gain == pytest.approx(many.paid[row], abs=1e-9)


def unpaired(dice: np.random.Generator, gain: float, correlation: float, baselines: int) -> Sequential:
    """Judge a candidate whose scores go with the tip's by a correlation, all of deviation 1."""
    cached = tuple((50 + dice.normal(size=baselines)).tolist())
    test = Sequential(1.0, 1.0, 0.354, 12, cached)
    while test.decision == "CONTINUE":
        common, own = dice.normal(size=2)
        test = test.after(Pair(50 + common, 50 - gain + correlation * common + math.sqrt(1 - correlation**2) * own))
    return test


def test_gives_pairing_up_where_it_does_not_hold() -> None:
    dice = np.random.default_rng(9)
    modes = [unpaired(dice, 1.5, 0.0, 32).mode for _ in range(100)]
    assert modes.count("unpaired") > 10
    assert all(unpaired(dice, 1.5, 0.95, 32).mode == "paired" for _ in range(50))
    # Without the tip's cached scores there is nothing to go over to.
    assert all(unpaired(dice, 1.5, 0.0, 0).mode == "paired" for _ in range(50))
