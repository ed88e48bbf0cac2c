"""Letting slots go and closing bounties, in the right order: no new claims, then live claims and received work, then the refund.

Every function here is called with the bounty locked (`market.bounties.locks`), inside the caller's transaction.
"""

import datetime

from django.db.models import Q

from market.bounties import news
from market.bounties.models import Bounty
from market.escrow import holds
from market.escrow.models import Hold
from tasks import claims, leases
from tasks.models import Claim, Slot, Task

_FINAL_STATUS = {
    Bounty.ClosedBecause.ACCEPTED: Bounty.Status.SETTLED,
    Bounty.ClosedBecause.CANCELLED: Bounty.Status.CANCELLED,
    Bounty.ClosedBecause.EXPIRED: Bounty.Status.EXPIRED,
    Bounty.ClosedBecause.NOT_POSSIBLE: Bounty.Status.SETTLED,
}


def let_slot_go(*, bounty: Bounty, claim: Claim, actor: news.Actor, now: datetime.datetime) -> None:
    """Open the claim's slot again, or close it with the bounty where no time is left."""
    claims.let_go(claim=claim, now=now)
    if now >= bounty.task.closes_at:
        begin(bounty=bounty, because=Bounty.ClosedBecause.EXPIRED, actor="clock", now=now)
    # Where nothing is closing, the slot is open again, and so is the bounty.
    if bounty.closed_because:
        wind_down(bounty=bounty, actor=actor, now=now)


def begin(*, bounty: Bounty, because: Bounty.ClosedBecause, actor: news.Actor, now: datetime.datetime) -> bool:
    """Stop new claims on an open bounty, for a reason that stays; return False if it is closing already."""
    cancelled_at = now if because == Bounty.ClosedBecause.CANCELLED else None
    moved = Bounty.objects.filter(pk=bounty.pk, status=Bounty.Status.OPEN, closed_because="").update(
        closed_because=because, cancel_requested_at=cancelled_at
    )
    if not moved:
        return False
    bounty.closed_because, bounty.cancel_requested_at = because, cancelled_at
    _unlist(bounty)
    news.tell_of_bounty(bounty, type="bounty.closing", actor=actor)
    return True


def wind_down(*, bounty: Bounty, actor: news.Actor, now: datetime.datetime) -> None:
    """Give back what a closing bounty needs no more, and end a bounty whose every slot is done or withdrawn."""
    if bounty.status != Bounty.Status.OPEN:
        return
    freed = claims.withdraw_free_slots(bounty.task_id) if bounty.closed_because else []
    states = set(Slot.objects.filter(task_id=bounty.task_id).values_list("lease_state", flat=True))
    is_over = not states & {leases.LeaseState.READY, leases.LeaseState.LEASED}
    if is_over:
        _unlist(bounty)
    if states == {leases.LeaseState.DONE}:
        _move(bounty, Bounty.Status.FILLED, closed_because=Bounty.ClosedBecause.ACCEPTED)
        news.tell_of_bounty(bounty, type="bounty.filled", actor=actor)
    _give_back(bounty, _needless(bounty, freed, with_reserve=is_over), now)
    if is_over:
        final = _FINAL_STATUS[Bounty.ClosedBecause(bounty.closed_because)]
        _move(bounty, final, closed_at=now)
        news.tell_of_bounty(bounty, type=f"bounty.{final.lower()}", actor=actor)


def slot_hold(bounty: Bounty, number: int) -> Hold:
    """Return the hold of one slot."""
    return Hold.objects.get(bounty_id=bounty.pk, kind=Hold.Kind.SLOT, slot_number=number)


def reserve_hold(bounty: Bounty) -> Hold:
    """Return the hold of the reserve for negative outcomes."""
    return Hold.objects.get(bounty_id=bounty.pk, kind=Hold.Kind.RESERVE)


def _needless(bounty: Bounty, slot_numbers: list[int], *, with_reserve: bool) -> list[Hold]:
    """Return what is still held for these slots, and in reserve; what was captured paid a negative outcome."""
    if not slot_numbers and not with_reserve:
        return []
    needless = Q(kind=Hold.Kind.SLOT, slot_number__in=slot_numbers)
    if with_reserve:
        needless |= Q(kind=Hold.Kind.RESERVE)
    return list(Hold.objects.filter(needless, bounty_id=bounty.pk, status=Hold.Status.HELD).order_by("pk"))


def _give_back(bounty: Bounty, unused: list[Hold], now: datetime.datetime) -> None:
    if not unused:
        return
    if bounty.closed_because == Bounty.ClosedBecause.EXPIRED:
        holds.expire(unused=unused, now=now)
    else:
        holds.void(unused=unused, now=now)


def _unlist(bounty: Bounty) -> None:
    if bounty.task.status != Task.Status.LISTED:
        return
    Task.objects.filter(pk=bounty.task_id, status=Task.Status.LISTED).update(status=Task.Status.CLOSED)
    bounty.task.status = Task.Status.CLOSED


def _move(bounty: Bounty, status: Bounty.Status, **fields: object) -> None:
    sources = [source for source, targets in Bounty.EDGES.items() if status in targets]
    moved = Bounty.objects.filter(pk=bounty.pk, status__in=sources).update(status=status, **fields)
    assert moved, f"{bounty} was locked and can't have moved."
    bounty.status = status
    for name, value in fields.items():
        setattr(bounty, name, value)
