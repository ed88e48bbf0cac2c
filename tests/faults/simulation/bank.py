"""A bank outside the market: it refuses, fails, answers late or never, and tells its news late, twice and out of order."""

import datetime
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection

from market.common.money import Money
from market.payments.providers import base

ACCOUNTS = ("account_1", "account_2", "account_3")


@dataclass
class Entry:
    """One effect in the bank's own book."""

    key: str
    is_out: bool
    money: Money
    counterpart: str
    outcome: str = "PENDING"


class Bank:
    """A provider (see `market.payments.providers.base.Provider` for what it promises) that keeps its book in memory."""

    def __init__(
        self, name: str, chance: random.Random, *, wait: Callable[[datetime.timedelta], None], now: Callable[[], datetime.datetime]
    ) -> None:
        self.name = name
        self.book: dict[str, Entry] = {}
        self.complaints: list[str] = []
        self._refusals: dict[str, str] = {}
        self._news: list[tuple[datetime.datetime, int, base.RawEvent]] = []
        self._told = 0
        self._chance, self._wait, self._now = chance, wait, now
        # It works well until the market has opened.
        self._trouble = 0.0
        self._days: tuple[int, ...] = (0,)

    def begin(self, trouble: float | None) -> None:
        """Be as bad from now on as is said, or else as is drawn."""
        drawn = self._chance.choice((0.0, 0.2, 0.4))
        self._trouble = drawn if trouble is None else trouble
        self._days = (0, 0, 2, 300, 40_000)

    def heal(self) -> None:
        """Make no trouble from now on."""
        self._trouble = 0.0

    def check_counterpart(self, text: str) -> None:
        """Take the bank's own accounts."""
        if text not in ACCOUNTS:
            raise base.UnknownCounterpart(f"This bank knows {', '.join(ACCOUNTS)}.")

    def collect(self, *, key: str, money: Money, source: str, now: datetime.datetime) -> str:
        """Begin to move money in."""
        return self._take(Entry(key, False, money, source))

    def pay(self, *, key: str, money: Money, destination: str, now: datetime.datetime) -> str:
        """Begin to move money out."""
        return self._take(Entry(key, True, money, destination))

    def find(self, *, key: str) -> str | None:
        """Look into the book, or don't answer."""
        self._be_called()
        if self._is_trouble():
            raise base.OutcomeUnknown("Nobody answers.")
        return _reference(key) if key in self.book else None

    def fetch_events(self, *, now: datetime.datetime, limit: int) -> list[base.RawEvent]:
        """Tell the news that are due, in the order in which they get here."""
        due = sorted(each for each in self._news if each[0] <= now)[:limit]
        self._news = [each for each in self._news if each not in due]
        return [event for _, _, event in due]

    def read_event(self, body: bytes) -> base.Notice:
        """Read the bank's JSON."""
        said = json.loads(body)
        money = Money(said["amount_minor"], said["currency"])
        return base.Notice(base.NoticeKind(said["kind"]), said["key"], said["reference"], money, said["reason"])

    def _take(self, wanted: Entry) -> str:
        self._be_called()
        if wanted.key in self._refusals:
            raise base.Refused(self._refusals[wanted.key])
        known = self.book.get(wanted.key)
        if known is None:
            self._consider(wanted)
        elif (known.is_out, known.money, known.counterpart) != (wanted.is_out, wanted.money, wanted.counterpart):
            raise base.Refused("key_used_for_something_else")
        if self._is_trouble():
            # Late: whoever asked may be taken for dead meanwhile.
            self._wait(datetime.timedelta(seconds=self._chance.choice((1, 30, 61, 150))))
        if self._is_trouble():
            raise base.OutcomeUnknown("The answer was lost.")
        return _reference(wanted.key)

    def _consider(self, wanted: Entry) -> None:
        if self._is_trouble() and self._chance.random() < 0.5:
            raise base.OutcomeUnknown("The request was lost.")
        if self._is_trouble() and self._chance.random() < 0.5:
            self._refusals[wanted.key] = "account_closed"
            raise base.Refused("account_closed")
        self.book[wanted.key] = wanted
        self._decide(wanted)

    def _decide(self, entry: Entry) -> None:
        """Decide what becomes of it, and plan the news of it."""
        way_in = (base.NoticeKind.DEPOSIT_CONFIRMED, base.NoticeKind.DEPOSIT_FAILED)
        good, bad = (base.NoticeKind.PAYOUT_PAID, base.NoticeKind.PAYOUT_FAILED) if entry.is_out else way_in
        soon = self._now() + datetime.timedelta(seconds=self._chance.choice(self._days))
        if self._is_trouble():
            entry.outcome = "FAILED"
            self._tell(entry, bad, soon, "account_closed")
            return
        entry.outcome = "PAID"
        self._tell(entry, good, soon)
        if entry.is_out and self._is_trouble():
            entry.outcome = "RETURNED"
            # It may overtake the news that it was paid.
            self._tell(
                entry, base.NoticeKind.PAYOUT_RETURNED, soon + datetime.timedelta(seconds=self._chance.choice((-1, 5, 86_400))), "returned"
            )

    def _tell(self, entry: Entry, kind: base.NoticeKind, at: datetime.datetime, reason: str = "") -> None:
        said = {
            "kind": kind.value,
            "key": entry.key,
            "reference": _reference(entry.key),
            "amount_minor": entry.money.amount_minor,
            "currency": entry.money.currency,
            "reason": reason,
        }
        body = json.dumps(said).encode()
        names = [f"{kind.value}:{entry.key}"]
        if self._is_trouble():
            names += self._chance.choice(([names[0]], [f"{names[0]}:again"], [names[0], f"{names[0]}:again"]))
        for name in names:
            self._told += 1
            later = datetime.timedelta(seconds=self._chance.choice((0, 60, 7200)) if name != names[0] or self._told % 2 else 0)
            self._news.append((at + later, self._told, base.RawEvent(name, body)))

    def _be_called(self) -> None:
        if connection.in_atomic_block:
            self.complaints.append(f"{self.name} was called inside a transaction")

    def _is_trouble(self) -> bool:
        return self._chance.random() < self._trouble


def _reference(key: str) -> str:
    return f"ref-{key}"
