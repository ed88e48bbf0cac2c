"""One pass over all money that waits for something: the guarantee behind every doorbell."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from market.payments import deposits, inbox, payouts
from market.payments.providers import registry
from tasks import batches


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows a pass touched."""

    deposits_asked: int
    payouts_tried: int
    events_stored: int
    events_processed: int


def sweep(*, now: datetime.datetime) -> Swept:
    """Ask again for deposits, send payouts, fetch and process providers' news. Safe to run twice, and twice at once.

    Raises:
        ExceptionGroup: what went wrong with single rows or providers, after all others had their turn.
    """
    steps: dict[str, Callable[[], int]] = {
        "deposits_asked": lambda: deposits.collect_due(now=now),
        "payouts_tried": lambda: payouts.sweep(now=now),
        "events_stored": lambda: sum(batches.for_each(registry.every(), lambda provider: inbox.fetch(provider=provider, now=now))),
        "events_processed": lambda: inbox.process_due(now=now),
    }
    return Swept(**dict(batches.for_each(steps, lambda name: (name, steps[name]()))))
