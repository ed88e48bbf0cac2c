"""Audits deter, and an error budget ends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.replay import policy
from verification.replay.policy import AlphaBudget

_MINOR = st.integers(0, 10**9)


@given(st.integers(0, 10_000), _MINOR, _MINOR, _MINOR)
def test_cheating_never_pays(valid: int, gain: int, stake: int, price: int) -> None:
    chance = policy.audit_probability(valid, gain, stake, price)
    assert 0 <= chance <= 1
    # What a forger expects: the gain when he is not looked at, minus the stake when he is.
    assert (1 - chance) * gain <= chance * stake + 1e-6 * (gain + stake)


@given(st.integers(0, 10_000), _MINOR, _MINOR, st.integers(0, 99_99))
def test_audits_fall_with_experience_and_rise_with_the_gain(valid: int, gain: int, stake: int, price: int) -> None:
    chance = policy.audit_probability(valid, gain, stake, price)
    assert policy.audit_probability(valid + 1, gain, stake, price) <= chance
    assert policy.audit_probability(valid, gain + 1, stake, price) >= chance
    assert policy.audit_probability(valid, gain, stake, 100_00) == 1.0


@pytest.mark.parametrize(
    ("valid", "gain", "stake", "chance"),
    [(0, 0, 0, 1.0), (9, 1, 10**9, 1.0), (10, 0, 100, 0.1), (20, 1, 20, 0.05), (100, 1, 4, 0.2), (100, 1, 19, 0.05), (100, 1, 0, 1.0)],
)
def test_audit_chances_are_the_published_ones(valid: int, gain: int, stake: int, chance: float) -> None:
    assert policy.audit_probability(valid, gain, stake, 10) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("segments", "forged", "audited", "chance"),
    [(100, 100, 1, 1.0), (100, 10, 3, 0.2735), (100, 10, 5, 0.4162), (50, 1, 3, 0.06), (20, 2, 20, 1.0), (10, 0, 5, 0.0)],
)
def test_detection_is_drawing_without_replacement(segments: int, forged: int, audited: int, chance: float) -> None:
    assert policy.detection_probability(segments, forged, audited) == pytest.approx(chance, abs=1e-4)


@given(st.integers(1, 1000), _MINOR)
def test_as_many_segments_as_the_price_asks_and_no_more(segments: int, price: int) -> None:
    count = policy.segment_count(price, segments)
    forged = math.ceil(segments / 10)
    wanted = 0.25 if price < 100 else 0.5 if price < 100_00 else 0.9
    assert 1 <= count <= segments
    assert policy.detection_probability(segments, forged, count) >= wanted
    assert count == 1 or policy.detection_probability(segments, forged, count - 1) < wanted


def test_new_hosts_are_doubled() -> None:
    assert [policy.replicas(valid) for valid in (0, 9, 10, 1000)] == [2, 2, 1, 1]


def test_ringers_are_five_to_ten_percent() -> None:
    assert 0.05 <= policy.RINGER_SHARE <= 0.1


def test_nine_tries_without_an_accepted_one_are_all() -> None:
    left = [AlphaBudget(accepted=0, unaccepted=tries).tries_left for tries in range(11)]
    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert not AlphaBudget(0, 9).may_submit


def test_an_accepted_candidate_earns_more_tries() -> None:
    assert AlphaBudget(1, 9).tries_left == 10
    assert AlphaBudget(0, 10**6).tries_left == 0


@given(st.integers(0, 1000), st.integers(0, 10_000))
def test_a_budget_grows_with_acceptances_alone(accepted: int, unaccepted: int) -> None:
    budget = AlphaBudget(accepted, unaccepted)
    assert AlphaBudget(accepted + 1, unaccepted).tries_left >= budget.tries_left
    assert AlphaBudget(accepted, unaccepted + 1).tries_left == max(0, budget.tries_left - 1)


def test_false_acceptances_stay_a_twentieth_of_all_whatever_the_claimant_sends() -> None:
    """Claimants with null candidates alone, accepted at the nominal rate each, until the budget ends: 20,000 of them."""
    dice = np.random.default_rng(11)
    wealth = np.full(20_000, policy.ALPHA_AT_FIRST)
    false = np.zeros(20_000)
    for _ in range(400):
        tries = wealth >= 5026
        accepted = tries & (dice.random(20_000) < policy.ALPHA_OF_A_TRY / 1e6)
        false += accepted
        wealth = wealth + np.where(accepted, policy.ALPHA_OF_AN_ACCEPTED, np.where(tries, -5026, 0))
    # Expected false acceptances are at most 0.05 of expected (acceptances + 1); all acceptances here are false.
    error = 3 * false.std() / math.sqrt(20_000)
    assert false.mean() - error <= 0.05 * (false.mean() + 1)
