"""Closing a research bounty, in the right order: no new candidates, then what was received is decided and paid, then the refund.

Every function here is called with the bounty locked (`market.bounties.research.locks`), inside the caller's transaction.
"""

import datetime

from market.bounties.news import Actor
from market.bounties.research import news, paying, reserving
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.escrow import holds
from market.escrow.models import Hold
from verification.research import posting as task_posting
from verification.research.models import Candidate, Run

_Because = ResearchBounty.ClosedBecause
_Status = ResearchBounty.Status

_FINAL_STATUS = {_Because.SPENT: _Status.SETTLED, _Because.CANCELLED: _Status.CANCELLED, _Because.EXPIRED: _Status.EXPIRED}
_ENDED = (Run.Stage.VALID, Run.Stage.INVALID, Run.Stage.CANCELLED)


def begin(*, bounty: ResearchBounty, because: ResearchBounty.ClosedBecause, actor: Actor, now: datetime.datetime) -> bool:  # noqa: ARG001
    """Stop new candidates on an open bounty, for a reason that stays; return False if it is closing already."""
    if not ResearchBounty.objects.filter(pk=bounty.pk, status=_Status.OPEN, closed_because="").update(closed_because=because):
        return False
    bounty.closed_because = because
    task_posting.close_task(task=bounty.task)
    news.tell_of_bounty(bounty, type="research.closing", actor=actor)
    return True


def wind_down(*, bounty: ResearchBounty, actor: Actor, now: datetime.datetime) -> None:
    """Free what settled candidates did not cost, close a bounty that can't pay another one, and end one that owes nothing any more."""
    if bounty.status != _Status.OPEN:
        return
    _release(bounty, now)
    # Even if all that is under way cost nothing more, there would not be enough.
    if bounty.budget_minor - bounty.spent_minor < reserving.case_minor(bounty):
        begin(bounty=bounty, because=_Because.SPENT, actor=actor, now=now)
    if not bounty.closed_because or _is_under_way(bounty):
        return
    _give_back(bounty, now)
    final = _FINAL_STATUS[_Because(bounty.closed_because)]
    moved = ResearchBounty.objects.filter(pk=bounty.pk, status=_Status.OPEN).update(status=final, closed_at=now)
    assert moved, f"{bounty} was locked and can't have moved."
    bounty.status, bounty.closed_at = final, now
    news.tell_of_bounty(bounty, type=f"research.{final.lower()}", actor=actor)


def may_release(reserve: CaseReserve) -> bool:
    """Tell whether nothing can be charged to a candidate any more: it is settled, and its runs have ended and are paid."""
    runs = Run.objects.filter(candidate=reserve.candidate_id)
    return not runs.exclude(stage__in=_ENDED).exists() and not paying.unpaid().filter(candidate=reserve.candidate_id).exists()


def _release(bounty: ResearchBounty, now: datetime.datetime) -> None:
    for reserve in bounty.reserves.filter(released_at=None, candidate__settlement__isnull=False).order_by("pk"):
        if may_release(reserve):
            reserving.release(bounty=bounty, reserve=reserve, now=now)


def _is_under_way(bounty: ResearchBounty) -> bool:
    waiting = Candidate.objects.filter(task=bounty.task_id, status__in=(Candidate.Status.SEALED, *Candidate.UNDECIDED))
    return waiting.exists() or bounty.reserves.filter(released_at=None).exists()


def _give_back(bounty: ResearchBounty, now: datetime.datetime) -> None:
    hold = reserving.budget_hold(bounty)
    if hold.status != Hold.Status.HELD:
        return  # Spent to the last unit.
    if bounty.closed_because == _Because.EXPIRED:
        holds.expire(unused=[hold], now=now)
    else:
        holds.void(unused=[hold], now=now)
