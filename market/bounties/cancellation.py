"""Cancelling and running out of time, in the right order: stop new claims, honour live claims and received work, refund the rest."""

import datetime
import uuid

from django.db.models import Q

from market.accounts.models import Agent
from market.bounties import closing, locks, news
from market.bounties.models import Bounty
from market.common import retrying
from tasks import batches


class NotCancellable(Exception):
    """The bounty has ended, or it is closing for another reason."""


def cancel(*, bounty: Bounty, agent: Agent, now: datetime.datetime) -> Bounty:
    """Cancel an agent's bounty; the second time changes nothing.

    Free slots are refunded at once. Under a live claim or received work it stays OPEN with ``closed_because`` CANCELLED
    until those are done; they are paid as if nothing had happened.

    Raises:
        market.bounties.locks.NoBounty: it is another agent's.
        NotCancellable: it has ended, is blocked, or is closing for another reason.
    """
    if bounty.agent_id != agent.pk:
        raise locks.NoBounty(f"No bounty {bounty}.")
    return retrying.in_transaction(lambda: _cancel(bounty.pk, now))


def close_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Close what is past its deadline and finish what is closing; return how many bounties were looked at."""
    due = Bounty.objects.filter(
        Q(status=Bounty.Status.SCREENED, task__closes_at__lte=now)
        | Q(status=Bounty.Status.OPEN, task__closes_at__lte=now, closed_because="")
        | (Q(status=Bounty.Status.OPEN) & ~Q(closed_because="") & ~Q(task__slots__lease_state="LEASED"))
    ).order_by("pk")

    def work(bounty_id: uuid.UUID) -> None:
        retrying.in_transaction(lambda: _close(bounty_id, now))

    return len(batches.drive(sweep="bounties closing", due=due, work=work, limit=limit, now=now))


def _cancel(bounty_id: uuid.UUID, now: datetime.datetime) -> Bounty:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.closed_because == Bounty.ClosedBecause.CANCELLED:
        return bounty
    if bounty.status == Bounty.Status.SCREENED:
        _end_unfunded(bounty, Bounty.ClosedBecause.CANCELLED, "agent", now)
        return bounty
    if bounty.status != Bounty.Status.OPEN or not closing.begin(
        bounty=bounty, because=Bounty.ClosedBecause.CANCELLED, actor="agent", now=now
    ):
        raise NotCancellable(f"{bounty} is {bounty.get_status_display()}: it can't be cancelled.")
    closing.wind_down(bounty=bounty, actor="agent", now=now)
    return bounty


def _close(bounty_id: uuid.UUID, now: datetime.datetime) -> None:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.status == Bounty.Status.SCREENED and bounty.task.closes_at <= now:
        _end_unfunded(bounty, Bounty.ClosedBecause.EXPIRED, "clock", now)
        return
    if bounty.task.closes_at <= now:
        closing.begin(bounty=bounty, because=Bounty.ClosedBecause.EXPIRED, actor="clock", now=now)
    closing.wind_down(bounty=bounty, actor="clock", now=now)


def _end_unfunded(bounty: Bounty, because: Bounty.ClosedBecause, actor: news.Actor, now: datetime.datetime) -> None:
    status = Bounty.Status.CANCELLED if because == Bounty.ClosedBecause.CANCELLED else Bounty.Status.EXPIRED
    Bounty.objects.filter(pk=bounty.pk, status=Bounty.Status.SCREENED).update(status=status, closed_because=because, closed_at=now)
    bounty.status, bounty.closed_because, bounty.closed_at = status, because, now
    news.tell_of_bounty(bounty, type=f"bounty.{status.lower()}", actor=actor)
