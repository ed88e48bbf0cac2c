"""The bank of test mode. No real money is behind it, but it behaves like a bank: late, twice, not at all, or back again.

It keeps its own book (`TestBankEntry`) by idempotency key and stands for a system outside: nothing else reads it.
What it does depends on the source or destination:

==================  ==================================================================================================
``test_ok``         a deposit at once; a payout after `SETTLES_AFTER`
``test_slow``       a deposit after `SETTLES_AFTER`; a payout after ten times that
``test_refused``    refused when it is asked for
``test_failed``     taken, then it fails
``test_returned``   a payout that is paid, then comes back
``test_twice``      every event arrives twice under its id and once more under another
``test_lost_answer``  done, but the first answer is lost
==================  ==================================================================================================
"""

import datetime
from typing import Final, Literal

import pydantic
from django.db import transaction

from market.common import money as money_module
from market.common.money import Money
from market.payments.models import TestBankEntry
from market.payments.providers import base

SETTLES_AFTER: Final = datetime.timedelta(seconds=2)
COUNTERPARTS: Final = ("test_ok", "test_slow", "test_refused", "test_failed", "test_returned", "test_twice", "test_lost_answer")

Outcome = TestBankEntry.Outcome
Direction = TestBankEntry.Direction


class _Event(pydantic.BaseModel):
    """The bank's own words on the wire."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    id: str
    type: base.NoticeKind = pydantic.Field(strict=False)
    key: str = pydantic.Field(max_length=80)
    reference: str = pydantic.Field(max_length=80)
    amount_minor: int = pydantic.Field(gt=0, le=money_module.MAX_MINOR)
    currency: Literal["USD", "EUR", "GBP", "JPY", "USDC"]
    reason: str = pydantic.Field(default="", max_length=80)


class Bank:
    """The provider interface of the test bank (see `market.payments.providers.base.Provider` for the promises)."""

    name = "test_money"

    def check_counterpart(self, text: str) -> None:
        """Take the words of the module's table."""
        if text not in COUNTERPARTS:
            raise base.UnknownCounterpart(f"Test money knows {', '.join(COUNTERPARTS)}; not {text[:40]!r}.")

    def collect(self, *, key: str, money: Money, source: str, now: datetime.datetime) -> str:
        """Enter a deposit into the book."""
        is_at_once = source in ("test_ok", "test_twice", "test_lost_answer")
        return self._enter(key, Direction.IN, money, source, now, now if is_at_once else now + SETTLES_AFTER)

    def pay(self, *, key: str, money: Money, destination: str, now: datetime.datetime) -> str:
        """Enter a payout into the book."""
        delay = SETTLES_AFTER * (10 if destination == "test_slow" else 1)
        return self._enter(key, Direction.OUT, money, destination, now, now + delay)

    def find(self, *, key: str) -> str | None:
        """Look into the book."""
        return _reference(key) if TestBankEntry.objects.filter(idempotency_key=key).exists() else None

    def fetch_events(self, *, now: datetime.datetime, limit: int) -> list[base.RawEvent]:
        """Tell the news that are due and note in the book that they were told."""
        events: list[base.RawEvent] = []
        with transaction.atomic():
            due = TestBankEntry.objects.filter(news_at__lte=now).order_by("news_at", "pk")
            for entry in due.select_for_update(skip_locked=True)[:limit]:
                events += _settle(entry)
        return events

    def read_event(self, body: bytes) -> base.Notice:
        """Read the bank's JSON; unknown keys and kinds are refused."""
        try:
            event = _Event.model_validate_json(body)
        except pydantic.ValidationError as error:
            raise base.MalformedEvent(f"{error.error_count()} faults, the first at {error.errors()[0]['loc']}.") from error
        return base.Notice(event.type, event.key, event.reference, Money(event.amount_minor, event.currency), event.reason)

    def _enter(
        self, key: str, direction: Direction, money: Money, counterpart: str, now: datetime.datetime, news_at: datetime.datetime
    ) -> str:
        self.check_counterpart(counterpart)
        if counterpart == "test_refused":
            raise base.Refused("refused_by_bank")
        content = {
            "direction": direction.value,
            "amount_minor": money.amount_minor,
            "currency": money.currency,
            "counterpart": counterpart,
        }
        entry, is_new = TestBankEntry.objects.get_or_create(
            idempotency_key=key, defaults={**content, "news_at": news_at, "created_at": now}
        )
        if any(getattr(entry, name) != value for name, value in content.items()):
            raise base.Refused("key_used_for_something_else")
        if is_new and counterpart == "test_lost_answer":
            raise base.OutcomeUnknown("The answer was lost.")
        return _reference(key)


def _reference(key: str) -> str:
    return f"bank-{key}"


def _settle(entry: TestBankEntry) -> list[base.RawEvent]:
    """Take an entry one step on and tell it."""
    assert entry.news_at is not None
    is_return_to_come = entry.counterpart == "test_returned" and entry.direction == Direction.OUT and entry.outcome == Outcome.PENDING
    if entry.outcome == Outcome.PAID:
        entry.outcome = Outcome.RETURNED
    elif entry.counterpart == "test_failed":
        entry.outcome = Outcome.FAILED
    else:
        entry.outcome = Outcome.PAID
    entry.news_at = entry.news_at + SETTLES_AFTER if is_return_to_come else None
    entry.save(update_fields=["outcome", "news_at"])
    told = _tell(entry, "")
    return [told, told, _tell(entry, ":again")] if entry.counterpart == "test_twice" else [told]


def _tell(entry: TestBankEntry, suffix: str) -> base.RawEvent:
    kinds = {
        (Direction.IN, Outcome.PAID): base.NoticeKind.DEPOSIT_CONFIRMED,
        (Direction.IN, Outcome.FAILED): base.NoticeKind.DEPOSIT_FAILED,
        (Direction.OUT, Outcome.PAID): base.NoticeKind.PAYOUT_PAID,
        (Direction.OUT, Outcome.FAILED): base.NoticeKind.PAYOUT_FAILED,
        (Direction.OUT, Outcome.RETURNED): base.NoticeKind.PAYOUT_RETURNED,
    }
    kind = kinds[Direction(entry.direction), Outcome(entry.outcome)]
    reasons = {Outcome.FAILED: "account_closed", Outcome.RETURNED: "returned_by_receiving_bank"}
    event = _Event(
        id=f"{entry.idempotency_key}:{kind}{suffix}",
        type=kind,
        key=entry.idempotency_key,
        reference=_reference(entry.idempotency_key),
        amount_minor=entry.amount_minor,
        currency=entry.currency,  # type: ignore[arg-type]  # the book holds what `Money` let in
        reason=reasons.get(Outcome(entry.outcome), ""),
    )
    return base.RawEvent(event.id, event.model_dump_json().encode())
