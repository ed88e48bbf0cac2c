"""Claiming: take a slot, extend it once from inside the place, drop it freely, or let it expire."""

import datetime
import uuid

from django.db.models import QuerySet

from market.bounties import closing, locks, news
from market.bounties.models import Bounty
from market.common import retrying
from market.policy import countries
from tasks import batches, claims, geo
from tasks.models import Claim, Task, WorkerProfile


class ResidenceNotServed(claims.NotClaimable):
    """The worker lives where the market's policy allows no work."""


def claim(
    *, task_id: uuid.UUID, worker: WorkerProfile, latitude: float | None = None, longitude: float | None = None, now: datetime.datetime
) -> Claim:
    """Give the worker a free slot of an open task for the time to get there and do it.

    A position, if given, makes the lease fit the way; only its coarse cell is kept. A worker who holds an active claim on
    the task gets that one back, so a retry is harmless.

    Raises:
        tasks.claims.NotClaimable: the subclass says why: NotListed, AllTaken, OwnTask, AlreadyClaimed,
            TooManyOpenClaims, WorkerSuspended, ResidenceNotServed.
    """
    bounty = Bounty.objects.select_related("task", "agent").filter(task_id=task_id).exclude(terms_hash="").first()
    if bounty is None:
        raise claims.NotListed("No open task has this id.")
    if worker.country and not countries.decide(worker.country, "residence").is_allowed:
        raise ResidenceNotServed("The market can't serve workers who live in your country.")
    expire_lapsed_of(worker=worker, now=now)
    return retrying.in_transaction(lambda: _claim(bounty, worker, latitude, longitude, now))


def _claim(bounty: Bounty, worker: WorkerProfile, latitude: float | None, longitude: float | None, now: datetime.datetime) -> Claim:
    cell = None if latitude is None or longitude is None else geo.coarse_cell(latitude, longitude)
    taken, is_new = claims.take(
        task=bounty.task,
        worker_id=worker.pk,
        lease_s=lease_s(task=bounty.task, latitude=latitude, longitude=longitude),
        terms_hash=bounty.terms_hash,
        from_h3_cell=cell,
        now=now,
    )
    if is_new:
        news.tell_of_claim(bounty, taken, type="claim.made", actor="worker")
    return taken


def lease_s(*, task: Task, latitude: float | None, longitude: float | None) -> int:
    """Return the seconds a claim lasts: the estimated way and the task's own time."""
    distance_m = geo.UNKNOWN_DISTANCE_M
    if latitude is not None and longitude is not None:
        distance_m = geo.haversine_m(latitude, longitude, task.latitude, task.longitude)
    return geo.travel_estimate_s(distance_m) + task.task_time_s


def extend(*, claim: Claim, worker: WorkerProfile, latitude: float, longitude: float, now: datetime.datetime) -> Claim:
    """Lengthen an active claim by the task's time, once, for a worker who is inside the place.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
        tasks.claims.NotInside: the position is outside the task's area.
        tasks.claims.AlreadyExtended: it was extended before.
        tasks.claims.StaleClaim: it is not active any more.
    """
    require_own(claim, worker)
    task = claim.task
    distance_m = geo.haversine_m(latitude, longitude, task.latitude, task.longitude)
    if distance_m > task.within_m:
        raise claims.NotInside(f"You are {distance_m:.0f} m from the place; a claim is extended from within {task.within_m} m of it.")

    def work() -> Claim:
        # As it is now: counted from an older end, the claim of a retake would become shorter.
        current = Claim.objects.select_related("task").get(pk=claim.pk)
        claims.extend(claim=current, by_s=task.task_time_s, now=now)
        news.tell_of_claim(_bounty_of(current), current, type="claim.extended", actor="worker")
        return current

    return retrying.in_transaction(work)


def drop(*, claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> Claim:
    """Give an active claim up, without penalty; a claim dropped before is returned as it is.

    A dropped retake leaves the rejection as it was: it can still be appealed.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
        tasks.claims.StaleClaim: it was submitted, or its time is over (``expires_at`` itself is over), noted yet or not.
    """
    require_own(claim, worker)
    return retrying.in_transaction(lambda: _end(claim.pk, claim.task_id, Claim.Status.DROPPED, now))


def expire_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """End every active claim whose time is over (``expires_at`` itself is over); return how many."""
    due = _lapsed(now).order_by("expires_at")
    return sum(batches.drive(sweep="claims expired", due=due, work=lambda pk: _expire_one(pk, now), limit=limit, now=now))


def expire_lapsed_of(*, worker: WorkerProfile, now: datetime.datetime) -> int:
    """End the worker's own claims whose time is over, so that they don't stand in the way of his next."""
    own = _lapsed(now).filter(worker=worker).values_list("pk", flat=True)
    return sum(batches.for_each(own, lambda claim_id: _expire_one(claim_id, now)))


def require_own(claim: Claim, worker: WorkerProfile) -> None:
    """Refuse another worker's claim as if there were none.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
    """
    if claim.worker_id != worker.pk:
        raise claims.NoClaim(f"No claim {claim}.")


def _lapsed(now: datetime.datetime) -> QuerySet[Claim]:
    return Claim.objects.filter(status=Claim.Status.ACTIVE, expires_at__lte=now)


def _expire_one(claim_id: uuid.UUID, now: datetime.datetime) -> bool:
    task_id = Claim.objects.values_list("task_id", flat=True).get(pk=claim_id)
    try:
        retrying.apart(lambda: _end(claim_id, task_id, Claim.Status.EXPIRED, now))
    except claims.StaleClaim:
        return False  # Handed in or dropped since it was listed.
    return True


def _end(claim_id: uuid.UUID, task_id: uuid.UUID, status: Claim.Status, now: datetime.datetime) -> Claim:
    bounty = locks.lock_bounty_of_task(task_id)
    claim = Claim.objects.prefetch_related("submissions").get(pk=claim_id)
    claim.task = bounty.task
    if status == claim.status == Claim.Status.DROPPED:
        return claim  # Asked under the lock: the same request may have come in twice at once.
    claims.end_early(claim=claim, status=status, now=now)
    actor: news.Actor = "worker" if status == Claim.Status.DROPPED else "clock"
    news.tell_of_claim(bounty, claim, type=f"claim.{status.lower()}", actor=actor)
    if claims.has_unsettled_work(claim):
        claims.keep(claim)
    else:
        closing.let_slot_go(bounty=bounty, claim=claim, actor=actor, now=now)
    return claim


def _bounty_of(claim: Claim) -> Bounty:
    return Bounty.objects.select_related("agent").get(task_id=claim.task_id)
