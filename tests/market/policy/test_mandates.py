"""Mandates: what a key may still spend, to the cent and to the instant."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.policy import mandates

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(hours=24)
MOMENT = datetime.timedelta(microseconds=1)


def _check(
    amount_minor: int,
    *spendings: tuple[datetime.datetime, int],
    per_bounty: int | None = None,
    per_day: int | None = None,
    currency: str = "USD",
) -> None:
    limits = mandates.Limits("USD", per_bounty, per_day)
    past = tuple(mandates.Spending(at=at, amount_minor=amount) for at, amount in spendings)
    mandates.check(limits=limits, totals=mandates.Totals(NOW, past), amount_minor=amount_minor, currency=currency)


def test_allows_without_limits() -> None:
    _check(2**53)
    _check(2**53, currency="JPY")


def test_an_amount_equal_to_the_limit_fits() -> None:
    _check(500, per_bounty=500)
    _check(500, (NOW - MOMENT, 500), per_day=1000)


def test_refuses_over_the_limit_per_bounty() -> None:
    with pytest.raises(mandates.SpendLimitExceeded, match=r"at most 5.00 USD on one bounty") as caught:
        _check(501, per_bounty=500, per_day=10_000)
    assert (caught.value.limit, caught.value.left_minor, caught.value.renews_at) == ("per_bounty", 500, None)


def test_refuses_over_the_day_and_says_when_it_renews() -> None:
    first, second = NOW - datetime.timedelta(hours=20), NOW - datetime.timedelta(hours=2)
    with pytest.raises(mandates.SpendLimitExceeded, match=r"1.00 USD is left; more is free from 2026-03-01T16:00:00") as caught:
        _check(300, (second, 400), (first, 500), per_day=1000)
    assert (caught.value.limit, caught.value.left_minor, caught.value.renews_at) == ("per_day", 100, first + DAY)


def test_waits_for_as_many_spendings_as_it_needs() -> None:
    first, second = NOW - datetime.timedelta(hours=20), NOW - datetime.timedelta(hours=2)
    with pytest.raises(mandates.SpendLimitExceeded) as caught:
        _check(900, (first, 500), (second, 400), per_day=1000)
    assert caught.value.renews_at == second + DAY


def test_an_amount_over_the_whole_day_never_renews() -> None:
    with pytest.raises(mandates.SpendLimitExceeded) as caught:
        _check(1001, per_day=1000)
    assert caught.value.renews_at is None


def test_a_spending_counts_until_24_hours_have_passed() -> None:
    _check(1000, (NOW - DAY, 1000), per_day=1000)
    with pytest.raises(mandates.SpendLimitExceeded):
        _check(1000, (NOW - DAY + MOMENT, 1000), per_day=1000)


def test_refuses_another_currency_than_the_limits() -> None:
    with pytest.raises(mandates.SpendLimitExceeded, match="spends USD only"):
        _check(1, per_day=1000, currency="EUR")


def test_a_limit_of_zero_allows_nothing() -> None:
    with pytest.raises(mandates.SpendLimitExceeded):
        _check(1, per_day=0)


def test_overspent_says_nothing_is_left() -> None:
    with pytest.raises(mandates.SpendLimitExceeded) as caught:
        _check(1, (NOW - MOMENT, 5000), per_day=1000)
    assert caught.value.left_minor == 0


@given(
    st.integers(1, 2000),
    st.lists(st.tuples(st.integers(0, 48 * 3600).map(lambda s: NOW - datetime.timedelta(seconds=s)), st.integers(1, 900)), max_size=8),
)
def test_at_the_renewal_the_amount_fits(amount_minor: int, spendings: list[tuple[datetime.datetime, int]]) -> None:
    past = tuple(mandates.Spending(at=at, amount_minor=amount) for at, amount in spendings)
    limits = mandates.Limits("USD", None, 1000)
    totals = mandates.Totals(NOW, past)
    spent = sum(spending.amount_minor for spending in past if spending.at > NOW - DAY)
    if amount_minor <= 1000 - spent:
        mandates.check(limits=limits, totals=totals, amount_minor=amount_minor, currency="USD")
        return
    with pytest.raises(mandates.SpendLimitExceeded) as refused:
        mandates.check(limits=limits, totals=totals, amount_minor=amount_minor, currency="USD")
    renews_at = refused.value.renews_at
    assert (renews_at is None) == (amount_minor > 1000)
    if renews_at:
        mandates.check(limits=limits, totals=mandates.Totals(renews_at, past), amount_minor=amount_minor, currency="USD")
        with pytest.raises(mandates.SpendLimitExceeded):
            mandates.check(limits=limits, totals=mandates.Totals(renews_at - MOMENT, past), amount_minor=amount_minor, currency="USD")
