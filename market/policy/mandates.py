"""Spend mandates: what an API key may commit per bounty and in a rolling day. Totals are handed in; nothing is read here."""

import datetime
from dataclasses import dataclass
from typing import Literal

from market.common.money import Money

WINDOW: datetime.timedelta = datetime.timedelta(hours=24)


class SpendLimitExceeded(Exception):
    """The amount is over a limit of the key; says which one, what is left and when it renews."""

    def __init__(
        self,
        *,
        limit: Literal["per_bounty", "per_day", "currency"],
        limit_minor: int,
        left_minor: int,
        currency: str,
        renews_at: datetime.datetime | None,
    ) -> None:
        self.limit = limit
        self.limit_minor = limit_minor
        self.left_minor = left_minor
        self.currency = currency
        self.renews_at = renews_at
        super().__init__(self._message())

    def _message(self) -> str:
        left = Money(self.left_minor, self.currency)
        if self.limit == "currency":
            return f"This key spends {self.currency} only; post in {self.currency} or use another key."
        whole = Money(self.limit_minor, self.currency)
        if self.limit == "per_bounty":
            return f"This key may spend at most {whole} on one bounty; lower the price or raise the key's limit."
        renewal = f"; more is free from {self.renews_at.isoformat()}" if self.renews_at else ""
        return f"This key may spend at most {whole} in 24 hours and {left} is left{renewal}."


@dataclass(frozen=True, slots=True)
class Limits:
    """An API key's limits in minor units of ``currency``; None means no limit."""

    currency: str
    per_bounty_minor: int | None
    per_day_minor: int | None


@dataclass(frozen=True, slots=True)
class Spending:
    """One earlier commitment of the key: what it took from the limit, and when."""

    at: datetime.datetime
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What the key committed in the past: the caller passes at least the last 24 hours, in the limit's currency."""

    now: datetime.datetime
    spendings: tuple[Spending, ...] = ()


def check(*, limits: Limits, totals: Totals, amount_minor: int, currency: str) -> None:
    """Check that an amount fits under the key's limits. An amount equal to what is left fits.

    A spending counts until 24 hours have passed since it: at that instant it is free again.

    Raises:
        SpendLimitExceeded: over a limit, or in another currency than the limits while any is set.
    """
    if limits.per_bounty_minor is None and limits.per_day_minor is None:
        return
    if currency != limits.currency:
        raise SpendLimitExceeded(limit="currency", limit_minor=0, left_minor=0, currency=limits.currency, renews_at=None)
    if limits.per_bounty_minor is not None and amount_minor > limits.per_bounty_minor:
        raise SpendLimitExceeded(
            limit="per_bounty",
            limit_minor=limits.per_bounty_minor,
            left_minor=limits.per_bounty_minor,
            currency=currency,
            renews_at=None,
        )
    if limits.per_day_minor is not None:
        _check_day(limit_minor=limits.per_day_minor, totals=totals, amount_minor=amount_minor, currency=currency)


def _check_day(*, limit_minor: int, totals: Totals, amount_minor: int, currency: str) -> None:
    live = sorted((s for s in totals.spendings if s.at > totals.now - WINDOW), key=lambda s: s.at)
    left = limit_minor - sum(s.amount_minor for s in live)
    if amount_minor <= left:
        return
    raise SpendLimitExceeded(
        limit="per_day",
        limit_minor=limit_minor,
        left_minor=max(left, 0),
        currency=currency,
        renews_at=_renewal(live=live, missing_minor=amount_minor - left) if amount_minor <= limit_minor else None,
    )


def _renewal(*, live: list[Spending], missing_minor: int) -> datetime.datetime | None:
    """Return when enough of the day's spendings have left the window for the refused amount to fit."""
    freed = 0
    for spending in live:
        freed += spending.amount_minor
        if freed >= missing_minor:
            return spending.at + WINDOW
    return None
