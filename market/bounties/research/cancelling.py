"""Cancelling and running out of time: stop new candidates, decide and pay what was received, refund the rest."""

import datetime
import uuid

from django.db.models import Exists, OuterRef, Q

from market.accounts.models import Agent
from market.bounties.cancellation import NotCancellable
from market.bounties.locks import NoBounty
from market.bounties.news import Actor
from market.bounties.research import closing, locks, news
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.common import retrying
from tasks import batches
from verification.research import posting as task_posting

_Because = ResearchBounty.ClosedBecause
_Status = ResearchBounty.Status


def cancel(*, bounty: ResearchBounty, agent: Agent, now: datetime.datetime) -> ResearchBounty:
    """Cancel an agent's research bounty; the second time changes nothing.

    What is not needed for candidates under way comes back when the last of them is decided and paid: they are judged as if
    nothing had happened, and until then the bounty stays OPEN with ``closed_because`` CANCELLED.

    Raises:
        market.bounties.locks.NoBounty: it is another agent's.
        market.bounties.cancellation.NotCancellable: it has ended, is blocked, or is closing for another reason.
    """
    if bounty.agent_id != agent.pk:
        raise NoBounty(f"No research bounty {bounty}.")
    return retrying.in_transaction(lambda: _cancel(bounty.pk, now))


def close_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Close what is past its deadline, free what settled candidates did not cost, and finish what is closing; return how many."""
    settled = CaseReserve.objects.filter(bounty=OuterRef("pk"), released_at=None, candidate__settlement__isnull=False)
    due = ResearchBounty.objects.filter(
        Q(status=_Status.SCREENED, deadline__lte=now)
        | Q(status=_Status.OPEN, deadline__lte=now, closed_because="")
        | (Q(status=_Status.OPEN) & ~Q(closed_because=""))
        | (Q(status=_Status.OPEN) & Exists(settled))
    ).order_by("pk")

    def work(pk: uuid.UUID) -> None:
        retrying.in_transaction(lambda: _close(pk, now))

    return len(batches.drive(sweep="research bounties closing", due=due, work=work, limit=limit, now=now))


def _cancel(bounty_id: uuid.UUID, now: datetime.datetime) -> ResearchBounty:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.closed_because == _Because.CANCELLED:
        return bounty
    if bounty.status == _Status.SCREENED:
        _end_unfunded(bounty, _Because.CANCELLED, "agent", now)
        return bounty
    if not closing.begin(bounty=bounty, because=_Because.CANCELLED, actor="agent", now=now):
        raise NotCancellable(f"{bounty} is {bounty.get_status_display()}: it can't be cancelled.")
    closing.wind_down(bounty=bounty, actor="agent", now=now)
    return bounty


def _close(bounty_id: uuid.UUID, now: datetime.datetime) -> None:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.status == _Status.SCREENED and bounty.deadline <= now:
        _end_unfunded(bounty, _Because.EXPIRED, "clock", now)
        return
    if bounty.deadline <= now:
        closing.begin(bounty=bounty, because=_Because.EXPIRED, actor="clock", now=now)
    closing.wind_down(bounty=bounty, actor="clock", now=now)


def _end_unfunded(bounty: ResearchBounty, because: ResearchBounty.ClosedBecause, actor: Actor, now: datetime.datetime) -> None:
    status = _Status.CANCELLED if because == _Because.CANCELLED else _Status.EXPIRED
    ResearchBounty.objects.filter(pk=bounty.pk, status=_Status.SCREENED).update(status=status, closed_because=because, closed_at=now)
    bounty.status, bounty.closed_because, bounty.closed_at = status, because, now
    task_posting.close_task(task=bounty.task)
    news.tell_of_bounty(bounty, type=f"research.{status.lower()}", actor=actor)
