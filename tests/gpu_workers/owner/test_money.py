"""What work pays and costs ..."""

import datetime
from decimal import Decimal

import hypothesis
import pytest
from hypothesis import strategies as st

from agents_sdk import leases, models
from gpu_workers.owner import limits, money

DEMAND = leases.Demand(open_runs=3, pay_p50=models.Money(amount="0.10", currency="USD"), seconds_p50=360.0, n=20)
CENTS = st.integers(0, 10**7).map(lambda cents: Decimal(cents) / 100)


def ran(pay: str, seconds: float, *, expected: str | None = None, ended_at: float = 0.0) -> money.Experience:
    return money.Experience(Decimal(pay), "USD", seconds, Decimal(expected) if expected else None, ended_at)


def test_the_markets_middle_gives_a_range_with_its_n() -> None:
    found = money.estimate(DEMAND, [])
    assert found == money.Estimate(Decimal("0.5"), Decimal(1), Decimal(2), "USD", 20, "machines of this class")


def test_own_runs_count_more_from_three_on() -> None:
    own = [ran("0.10", 360), ran("0.20", 360), ran("0.30", 360)]
    assert money.estimate(DEMAND, own[:2]) == money.estimate(DEMAND, [])
    assert money.estimate(DEMAND, own) == money.Estimate(Decimal(1), Decimal(2), Decimal(3), "USD", 3, "this machine")


def test_nobody_knows_without_runs() -> None:
    assert money.estimate(None, []) is None
    assert money.estimate(leases.Demand(open_runs=3), []) is None


def test_electricity_is_taken_off_and_may_leave_less_than_nothing() -> None:
    expected = money.Estimate(Decimal("0.05"), Decimal("0.10"), Decimal("0.20"), "USD", 20, "x")
    left = money.net(expected, limits.Price(Decimal("0.40"), "USD"), 300.0)
    assert left is not None
    assert (left.low, left.p50, left.high) == (Decimal("-0.07"), Decimal("-0.02"), Decimal("0.08"))
    assert expected.per_kwh(500.0).p50 == Decimal("0.2")


@pytest.mark.parametrize(
    ("file", "is_too_low"),
    [
        ("", False),
        ('price_per_kwh = "0.40 USD"', False),
        ('price_per_kwh = "11.00 USD"', True),
        ('min_pay_per_hour = "1.00 USD"', False),
        ('min_pay_per_hour = "1.01 USD"', True),
        ('min_pay_per_hour = "0.97 USD"\nprice_per_kwh = "0.40 USD"', True),
        # Another currency can't be compared, and holds nothing up.
        ('min_pay_per_hour = "9.00 EUR"', False),
        ('price_per_kwh = "11.00 EUR"', False),
    ],
)
def test_pay_below_the_owners_least_holds_work_up(file: str, is_too_low: bool) -> None:
    found = money.too_low(limits.parse(file), money.estimate(DEMAND, []), 100.0)
    assert (found is not None and found.code == "price_too_low") is is_too_low


def test_the_error_of_estimates_is_of_the_last_days() -> None:
    own = [
        ran("1", 3600, expected="1.5", ended_at=10),
        ran("1", 3600, expected="0.9", ended_at=20),
        ran("1", 3600, expected="9", ended_at=1),
    ]
    assert money.error_of_estimates(own, since=5) == (Decimal("0.3"), 2)
    assert money.error_of_estimates([ran("1", 3600)], since=0) is None


@hypothesis.given(st.lists(st.tuples(st.sampled_from(["PAID", "PENDING", "FAILED"]), st.sampled_from(["USD", "EUR"]), CENTS)))
def test_sums_are_exact(rows: list[tuple[str, str, Decimal]]) -> None:
    runs = [
        leases.Replay(id=f"rpl_{n:032x}", status="X", money_status=status, pay=models.Money(amount=str(pay), currency=currency))
        for n, (status, currency, pay) in enumerate(rows)
    ]
    found = money.sums(runs)
    for currency in ("USD", "EUR"):
        sums = found.get(currency, money.Sums())
        assert sums.paid == sum(pay for status, each, pay in rows if (status, each) == ("PAID", currency))
        assert sums.pending == sum(pay for status, each, pay in rows if (status, each) == ("PENDING", currency))


@pytest.mark.parametrize(("amount", "text"), [("1.005", "1.00"), ("0.0004", "0.0004"), ("-0.07", "-0.07"), ("0", "0.00"), ("12", "12.00")])
def test_amounts_are_shown_with_the_digits_they_need(amount: str, text: str) -> None:
    assert money.shown(Decimal(amount)) == text


def test_the_last_days_are_summed_by_the_day_of_judgement() -> None:
    now = datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.UTC)

    def judged(days: int, status: str, pay: str | None, lost: str | None = None) -> leases.Replay:
        return leases.Replay(
            id=f"rpl_{days:032x}",
            status="VALID",
            money_status=status,
            pay=models.Money(amount=pay, currency="USD") if pay else None,
            lost=models.Money(amount=lost, currency="USD") if lost else None,
            judged_at=now - datetime.timedelta(days=days),
        )

    runs = [
        judged(0, "PAID", "0.10"),
        judged(6, "PENDING", "0.20"),
        judged(7, "PAID", "0.40"),
        judged(29, "FAILED", None, "5.00"),
        judged(30, "PAID", "9.00"),
        leases.Replay(id=f"rpl_{99:032x}", status="OPEN", money_status="PENDING", pay=models.Money(amount="1.00", currency="USD")),
    ]
    assert money.windows(runs, now=now) == [
        money.Window(7, "USD", Decimal("0.10"), Decimal("0.20"), Decimal(0)),
        money.Window(30, "USD", Decimal("0.50"), Decimal("0.20"), Decimal("5.00")),
    ]
    assert money.windows([], now=now) == []
