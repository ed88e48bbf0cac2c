"""Money: an integer of minor units and its currency. Nothing here has a table, and nothing is ever a float."""

import decimal
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

# Digits after the decimal point, ISO 4217; USDC has the 6 of its token contract.
EXPONENTS = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "USDC": 6}

# 2^53: the largest range in which every JSON reader keeps integers exact.
MAX_MINOR = 2**53

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?")


class MalformedMoney(ValueError):
    """An amount or a currency that can't be read; the message says what to send instead."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount of one currency in its minor units (cents for USD), from 0 to 2^53."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in EXPONENTS:
            raise MalformedMoney(f"Currency {self.currency[:8]!r} is not supported; use one of {', '.join(sorted(EXPONENTS))}.")
        if not 0 <= self.amount_minor <= MAX_MINOR:
            raise MalformedMoney(f"An amount must be from 0 to {MAX_MINOR} minor units, not {self.amount_minor}.")

    @classmethod
    def parse(cls, amount: str, currency: str) -> Self:
        """Read a plain decimal such as ``"10.00"``.

        Raises:
            MalformedMoney: not a plain decimal, more decimals than the currency has, or out of range.
        """
        if currency not in EXPONENTS:
            raise MalformedMoney(f"Currency {currency[:8]!r} is not supported; use one of {', '.join(sorted(EXPONENTS))}.")
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            raise MalformedMoney('An amount is a string of digits such as "10.00": no sign, exponent, space or separator.')
        minor = decimal.Decimal(amount).scaleb(EXPONENTS[currency])
        if minor != minor.to_integral_value():
            raise MalformedMoney(f"{currency} has {EXPONENTS[currency]} decimals; {amount!r} has more.")
        return cls(int(minor), currency)

    def decimal_text(self) -> str:
        """Write the amount as a plain decimal with all the decimals of its currency."""
        return str(decimal.Decimal(self.amount_minor).scaleb(-EXPONENTS[self.currency]))

    def __str__(self) -> str:
        return f"{self.decimal_text()} {self.currency}"


def share_bps_rounded_up(amount_minor: int, basis_points: int) -> int:
    """Return ``basis_points`` / 10,000 of an amount, rounded up to a whole minor unit."""
    return -(-amount_minor * basis_points // 10_000)


def times_rounded_down(amount_minor: int, factor: Fraction) -> int:
    """Return an amount times an exact factor, rounded down to a whole minor unit."""
    return amount_minor * factor.numerator // factor.denominator
