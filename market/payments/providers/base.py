"""What the market asks of a provider of money: a bank, a card network, a chain. It knows no deposit and no payout."""

import datetime
import enum
from dataclasses import dataclass
from typing import Protocol

from market.common.money import Money


class Refused(Exception):
    """The provider says no, for good, and moved nothing. ``reason`` is a word of the provider's, such as ``account_closed``."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The provider refused: {reason}.")
        self.reason = reason


class OutcomeUnknown(Exception):
    """No answer, or none that can be read: money may have moved. Ask `Provider.find` before a second try."""


class UnknownCounterpart(Exception):
    """The provider has no such source or destination; the message says which it takes."""


class MalformedEvent(Exception):
    """The bytes are no event of this provider."""


class NoticeKind(enum.StrEnum):
    """What a provider may tell. RETURNED implies that it was paid before; FAILED that it never was."""

    DEPOSIT_CONFIRMED = "deposit.confirmed"
    DEPOSIT_FAILED = "deposit.failed"
    PAYOUT_PAID = "payout.paid"
    PAYOUT_FAILED = "payout.failed"
    PAYOUT_RETURNED = "payout.returned"


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An inbound message before anybody believes it: the provider's id of it, and its bytes."""

    event_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """What an event says, in the market's words. ``key`` is the idempotency key that the effect was asked for with."""

    kind: NoticeKind
    key: str
    provider_ref: str
    money: Money
    reason: str = ""


class Provider(Protocol):
    """One way of moving money in and out.

    Whoever implements it promises:
    - Each effect is asked for with an idempotency key. The same key with the same content is the same effect, however
      often and from wherever it is asked for, and answers with the same reference; with other content it is `Refused`.
    - Calls go out between transactions, never inside one; each has a timeout, after which it raises `OutcomeUnknown`.
    - News comes as events: each at least once, in any order, any number of times, under one id or several. Two events
      never contradict each other; where a provider's words do, its `read_event` asks it for the state first.
    """

    name: str

    def check_counterpart(self, text: str) -> None:
        """Check the form of a source or destination without asking anybody.

        Raises:
            UnknownCounterpart: it can't be one of this provider's.
        """

    def collect(self, *, key: str, money: Money, source: str, now: datetime.datetime) -> str:
        """Begin to move money in; return the provider's reference. An event tells later whether it came.

        Raises:
            Refused, OutcomeUnknown
        """

    def pay(self, *, key: str, money: Money, destination: str, now: datetime.datetime) -> str:
        """Begin to move money out; return the provider's reference. An event tells later whether it arrived.

        Raises:
            Refused, OutcomeUnknown
        """

    def find(self, *, key: str) -> str | None:
        """Return the reference of the effect asked for with this key, or None if there is none.

        Raises:
            OutcomeUnknown
        """

    def fetch_events(self, *, now: datetime.datetime, limit: int) -> list[RawEvent]:
        """Return news that were not fetched before, for a provider that does not call us.

        The caller stores them in the same transaction where the provider keeps its book in our database.
        """

    def read_event(self, body: bytes) -> Notice:
        """Read an event's bytes.

        Raises:
            MalformedEvent
        """
