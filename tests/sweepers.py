"""The market's own sweepers, run by hand, and the time that they wait for."""

import datetime

from django.db.models.functions import Now

from market.bounties import sweeping as bounties
from market.events import delivery, jobs
from market.events.models import Delivery
from market.payments import sweeping as payments
from market.payments.models import Payout
from tasks.leases import LeaseState

# Sweeps of one moment: each carries what the one before it left, and the last finds nothing.
MAX_PASSES = 500

_SECOND = datetime.timedelta(seconds=1)


def loopback(host: str, port: int) -> list[str]:
    """Resolve every name to this machine."""
    return ["127.0.0.1"]


def sweep(*, now: datetime.datetime) -> int:
    """Run every sweeper once; return how much was done."""
    swept = payments.sweep(now=now)
    done = sum(bounties.sweep(now=now).values()) + swept.deposits_asked + swept.payouts_tried + swept.events_stored + swept.events_processed
    for _ in range(jobs.MAX_BATCHES):
        sent = delivery.deliver_due(now=now, resolve=loopback)
        done += sent
        if not sent:
            break
    return done


def sweep_until_quiet(*, now: datetime.datetime) -> None:
    """Run the sweepers until they find nothing, as if the time of every lease and of every next attempt had come."""
    for _ in range(MAX_PASSES):
        lapse_leases()
        if not sweep(now=now):
            return
    raise AssertionError(f"The sweepers still find work after {MAX_PASSES} passes.")


def lapse_leases() -> None:
    """Let every lease be over and every next attempt be due: the database's clock can't be moved, so the rows are."""
    for model in (Payout, Delivery):
        rows = model._default_manager.all()
        rows.filter(lease_state=LeaseState.LEASED).update(lease_until=Now() - _SECOND)
        rows.filter(lease_state=LeaseState.READY, available_at__gt=Now()).update(available_at=Now() - _SECOND)
