import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.common import money
from market.common.money import Money


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("10.00", "USD", 1000),
        ("10", "USD", 1000),
        ("0.1", "USD", 10),
        ("0", "USD", 0),
        ("7", "JPY", 7),
        ("7.000000", "USDC", 7_000_000),
        ("0.000001", "USDC", 1),
        ("90071992547409.92", "USD", money.MAX_MINOR),
    ],
)
def test_plain_decimal_is_read_exactly(amount: str, currency: str, minor: int) -> None:
    assert Money.parse(amount, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("10.001", "USD"),
        ("7.5", "JPY"),
        ("0.0000001", "USDC"),
        ("90071992547409.93", "USD"),
        ("-1", "USD"),
        ("+1", "USD"),
        ("1e3", "USD"),
        ("1,000.00", "USD"),
        (" 1", "USD"),
        ("1\n", "USD"),
        ("01", "USD"),
        (".5", "USD"),
        ("5.", "USD"),
        ("", "USD"),
        ("NaN", "USD"),
        ("Infinity", "USD"),
        ("٣", "USD"),
        ("1", "usd"),
        ("1", "ZZZ"),
        ("1", ""),
    ],
)
def test_anything_else_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(money.MalformedMoney):
        Money.parse(amount, currency)


@pytest.mark.parametrize("minor", [-1, money.MAX_MINOR + 1])
def test_amount_out_of_range_is_refused(minor: int) -> None:
    with pytest.raises(money.MalformedMoney):
        Money(minor, "USD")


@given(minor=st.integers(0, money.MAX_MINOR), currency=st.sampled_from(sorted(money.EXPONENTS)))
def test_what_is_written_is_read_again(minor: int, currency: str) -> None:
    text = Money(minor, currency).decimal_text()
    assert Money.parse(text, currency) == Money(minor, currency)
    assert len(text.partition(".")[2]) == money.EXPONENTS[currency]


def test_money_has_no_order_and_no_arithmetic() -> None:
    with pytest.raises(TypeError):
        Money(1, "USD") < Money(2, "JPY")  # type: ignore[operator]  # noqa: B015
    assert str(Money(1000, "USD")) == "10.00 USD"


@pytest.mark.parametrize(("minor", "basis_points", "share"), [(1000, 1500, 150), (1, 1, 1), (0, 1500, 0), (999, 1500, 150), (7, 10_000, 7)])
def test_share_is_rounded_up(minor: int, basis_points: int, share: int) -> None:
    assert money.share_bps_rounded_up(minor, basis_points) == share
