"""Providers' events: stored raw first, then processed once. It knows nothing of what they mean (see `notices`)."""

import datetime
import re
from collections.abc import Sequence

import structlog
from django.db import transaction

from market.common import retrying
from market.payments import notices
from market.payments.models import ProviderEvent
from market.payments.providers import base, registry
from tasks import batches

MAX_BODY_BYTES = 65_536
_EVENT_ID = re.compile(r"[!-~]{1,120}")

_log = structlog.get_logger(__name__)


class UnacceptableEvent(Exception):
    """The event can't even be stored: no usable id, or too long."""


def store(*, provider_name: str, events: Sequence[base.RawEvent], now: datetime.datetime) -> int:
    """Store events that are not there yet; return how many were new.

    Raises:
        UnacceptableEvent: an id that is not 1 to 120 visible ASCII characters, or a body over `MAX_BODY_BYTES`.
    """
    for event in events:
        if not _EVENT_ID.fullmatch(event.event_id) or len(event.body) > MAX_BODY_BYTES:
            raise UnacceptableEvent(f"An event id has 1 to 120 visible ASCII characters, a body at most {MAX_BODY_BYTES} bytes.")
    rows = [ProviderEvent(provider=provider_name, event_id=event.event_id, raw_body=event.body, received_at=now) for event in events]
    before = ProviderEvent.objects.filter(provider=provider_name, event_id__in=[event.event_id for event in events])
    with transaction.atomic():
        known = before.count()
        ProviderEvent.objects.bulk_create(rows, ignore_conflicts=True)
        return before.count() - known


def fetch(*, provider: base.Provider, now: datetime.datetime, limit: int = 500) -> int:
    """Store the news of a provider that does not call us; return how many events were new."""
    with transaction.atomic():
        return store(provider_name=provider.name, events=provider.fetch_events(now=now, limit=limit), now=now)


def process_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """Process stored events, oldest first, each in a transaction of its own; return how many.

    Raises:
        ExceptionGroup: what went wrong with single events, after all others had their turn; those stay unprocessed.
    """
    due = ProviderEvent.objects.filter(processed_at__isnull=True).order_by("received_at", "pk")
    done = batches.drive(sweep="provider events", due=due, work=lambda event_pk: process(event_pk=event_pk, now=now), limit=limit, now=now)
    return sum(done)


def process(*, event_pk: int, now: datetime.datetime) -> bool:
    """Process one event, unless somebody did or is doing so; an event without effect keeps the reason as its ``error``."""
    return retrying.in_transaction(lambda: _process(event_pk, now))


def _process(event_pk: int, now: datetime.datetime) -> bool:
    unprocessed = ProviderEvent.objects.filter(pk=event_pk, processed_at__isnull=True)
    event = unprocessed.select_for_update(skip_locked=True, no_key=True).first()
    if event is None:
        return False
    try:
        with transaction.atomic():
            notice = registry.named(event.provider).read_event(bytes(event.raw_body))
            notices.apply(provider_name=event.provider, notice=notice, now=now)
    except (base.MalformedEvent, notices.UnknownKey, notices.Contradiction) as error:
        event.error = f"{type(error).__name__}: {error}"[:200]
        _log.error("provider_event_without_effect", provider=event.provider, event_id=event.event_id, error=event.error)
    event.processed_at = now
    event.save(update_fields=["processed_at", "error"])
    return True
