"""One pass over all money that waits for something: the guarantee behind every doorbell."""

import datetime
from dataclasses import dataclass

from market.payments import deposits, inbox, payouts
from market.payments.providers import registry


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows a pass touched."""

    deposits_asked: int
    payouts_tried: int
    events_stored: int
    events_processed: int


def sweep(*, now: datetime.datetime) -> Swept:
    """Ask again for deposits, send payouts, fetch and process providers' news. Safe to run twice, and twice at once."""
    return Swept(
        deposits_asked=deposits.collect_due(now=now),
        payouts_tried=payouts.sweep(now=now),
        events_stored=sum(inbox.fetch(provider=provider, now=now) for provider in registry.every()),
        events_processed=inbox.process_due(now=now),
    )
