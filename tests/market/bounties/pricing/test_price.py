"""The price of a bounty: it ..."""

import pytest

from market.bounties import pricing
from market.common.money import MAX_MINOR, Money


def price(reward: Money, *, slots: int = 1, negative_fee: Money | None = None, negatives: int = 1) -> pricing.Price:
    return pricing.price(reward=reward, slot_count=slots, negative_fee=negative_fee, max_negative_outcomes=negatives)


@pytest.mark.parametrize(("reward_minor", "fee_minor"), [(10, 1), (11, 2), (99, 10), (100, 10), (101, 11), (100_000, 10_000)])
def test_takes_ten_percent_rounded_up(reward_minor: int, fee_minor: int) -> None:
    assert pricing.fee_minor(reward_minor) == fee_minor


def test_holds_every_slot_and_a_reserve_for_negative_outcomes() -> None:
    found = price(Money(1001, "USD"), slots=3, negatives=2)
    assert (found.fee_minor, found.negative_fee_minor) == (101, 501)
    assert (found.slot_minor, found.reserve_minor, found.total_minor) == (1102, 1002, 3 * 1102 + 1002)


@pytest.mark.parametrize(
    ("reward", "negative_fee", "param"),
    [
        (Money(9, "USD"), None, "reward"),
        (Money(100_001, "USD"), None, "reward"),
        (Money(1000, "USD"), Money(399, "USD"), "negative_fee"),
        (Money(1000, "USD"), Money(1001, "USD"), "negative_fee"),
        (Money(1000, "USD"), Money(500, "EUR"), "negative_fee"),
    ],
)
def test_refuses_offers_outside_the_limits(reward: Money, negative_fee: Money | None, param: str) -> None:
    with pytest.raises(pricing.BadOffer) as refused:
        price(reward, negative_fee=negative_fee)
    assert refused.value.param == param


@pytest.mark.parametrize("negative_minor", [400, 1000])
def test_takes_the_limits_themselves(negative_minor: int) -> None:
    assert price(Money(1000, "USD"), negative_fee=Money(negative_minor, "USD")).negative_fee_minor == negative_minor


def test_stays_within_what_json_keeps_exact() -> None:
    for currency, highest in pricing.MAX_REWARD_MINOR.items():
        assert price(Money(highest, currency), slots=100, negatives=20).total_minor <= MAX_MINOR


@pytest.mark.parametrize(
    ("reward", "bound"),
    [
        (Money(10, "USD"), 0.02),
        (Money(100, "USD"), 0.02),
        (Money(5000, "USD"), 0.002),
        (Money(100_000, "USD"), 0.002),
        (Money(50, "JPY"), 0.002),
        (Money(1_000_000, "USDC"), 0.02),
    ],
)
def test_asks_for_surer_verdicts_on_higher_prices(reward: Money, bound: float) -> None:
    assert pricing.max_false_accept(reward) == pytest.approx(bound)


def test_falls_along_a_line_of_logarithms() -> None:
    # The geometric middle of 1 and 50 gets the geometric middle of 2 % and 0.2 %.
    assert pricing.max_false_accept(Money(707, "USD")) == pytest.approx((0.02 * 0.002) ** 0.5, rel=1e-3)
