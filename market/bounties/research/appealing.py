"""Making good: what an owner's stake lost by a finding that his appeal did not confirm. His pay for the run, `paying` pays."""

import datetime
import uuid

from market.bounties.research import locks, paying, rules
from market.bounties.research.models import Forfeit, ResearchBounty, Restitution
from market.common import retrying
from market.escrow import stakes
from tasks import batches, ids
from verification.research.models import Appeal, Run


def make_good_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Put back what stakes lost by runs whose appeal was not confirmed against them, out of the platform's fees; return how many."""
    due = Appeal.objects.filter(status__in=paying.UNCONFIRMED, run__restitution=None).order_by("decided_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _make_good(pk, now))

    return sum(batches.drive(sweep="stakes put back", due=due, work=work, limit=limit, now=now))


def _make_good(run_id: uuid.UUID, now: datetime.datetime) -> bool:
    task_id = Run.objects.values_list("task_id", flat=True).get(pk=run_id)
    bounty = ResearchBounty.objects.filter(task_id=task_id).first() if task_id else None
    if bounty:
        bounty = locks.lock_bounty(bounty.pk)
    # Whoever takes the stake for this run holds the same row.
    run = Run.objects.select_for_update(no_key=True).get(pk=run_id)
    if Restitution.objects.filter(run=run).exists():
        return False
    assert run.owner_id is not None
    forfeit = Forfeit.objects.filter(run=run).first()
    currency = forfeit.currency if forfeit else bounty.currency if bounty else rules.CALIBRATION_PAY.currency
    amount_minor = forfeit.amount_minor if forfeit else 0
    worker = paying.profile_of(run.owner_id, run.mode)
    Restitution.objects.create(run=run, worker=worker, amount_minor=amount_minor, currency=currency, made_at=now)
    stakes.restore(mode=run.mode, worker_id=worker.pk, currency=currency, amount_minor=amount_minor, effect=ids.encode("rpl", run.pk))
    return True
