"""Claims: the exclusive right to a slot, and each way in and out of it. Money is let go elsewhere."""

import datetime
import uuid

from django.db.models import Exists, F, OuterRef, Q

from tasks import changes, leases
from tasks.models import Claim, Slot, Submission, Task, WorkerProfile

# One open claim for a new worker, one more for every 5 accepted submissions, 5 at most.
BASE_OPEN_CLAIMS = 1
ACCEPTED_PER_OPEN_CLAIM = 5
MAX_OPEN_CLAIMS = 5
# How often one worker may take a task and drop it or let it expire: a slot is not to be kept from others.
MAX_TRIES = 3

_HANDED_IN = Submission.objects.filter(claim=OuterRef("pk"))


class NotClaimable(Exception):
    """The task can't be claimed by this worker now; a subclass says why."""


class NotListed(NotClaimable):
    """No such task is open to this worker: wrong id, closed, not yet open, or of the other mode."""


class AllTaken(NotClaimable):
    """Every slot is taken at the moment: try another task, or this one later."""


class OwnTask(NotClaimable):
    """The task belongs to the worker's own account: nobody works for himself."""


class WorkerSuspended(NotClaimable):
    """The worker may not claim until an operator lifts the suspension."""


class AlreadyClaimed(NotClaimable):
    """The worker has handed in for this task before: one slot a person."""


class TriedTooOften(NotClaimable):
    """The worker has dropped this task, or let it expire, as often as he may: leave it to others."""


class TooManyOpenClaims(NotClaimable):
    """The worker has as many open claims as his record allows: finish or drop one first."""


class StaleClaim(Exception):
    """The claim is not in the state this step needs: it was submitted, dropped or it expired."""


class NoClaim(LookupError):
    """This worker has no claim with that id."""


class NotInside(Exception):
    """The worker is not inside the task's area, which extending a claim needs."""


class AlreadyExtended(Exception):
    """A claim can be extended once."""


def limit_of(worker: WorkerProfile) -> int:
    """Return how many claims the worker may hold open at once."""
    return min(MAX_OPEN_CLAIMS, BASE_OPEN_CLAIMS + worker.accepted_count // ACCEPTED_PER_OPEN_CLAIM)


def open_claims(worker_id: uuid.UUID) -> Q:
    """Return the condition for claims of a worker that still keep a slot from others.

    The slot says it, not the claim's status: one whose retake was dropped keeps its slot while the rejection may be appealed.
    """
    return Q(worker_id=worker_id, slot__lease_state=leases.LeaseState.LEASED, slot__token=F("slot_token"))


def used_up(worker_id: uuid.UUID) -> Q:
    """Return the condition for claims of a worker after which he gets no other slot of the same task."""
    return Q(Q(status__in=(Claim.Status.ACTIVE, Claim.Status.SUBMITTED)) | Q(Exists(_HANDED_IN)), worker_id=worker_id)


def take(
    *, task: Task, worker_id: uuid.UUID, lease_s: int, terms_hash: str, from_h3_cell: int | None, now: datetime.datetime
) -> tuple[Claim, bool]:
    """Give the worker a free slot; return his claim and whether it is new (he may hold one already).

    The worker's row is locked first, so that two claims of one worker at once can't pass his limit. Everything that
    can refuse comes before the slot is taken: whoever locks a slot keeps it, so the winners are as many as the slots.
    Call it inside a transaction.

    Raises:
        NotClaimable: the subclass says why.
    """
    worker = WorkerProfile.objects.select_for_update(no_key=True).get(pk=worker_id)
    _require_right_to_claim(task, worker)
    tries = list(Claim.objects.filter(task=task, worker=worker).annotate(is_used_up=used_up(worker.pk)))
    earlier = next((each for each in tries if each.is_used_up), None)
    if earlier is not None:
        if earlier.status == Claim.Status.ACTIVE and earlier.expires_at > now:
            return earlier, False
        raise AlreadyClaimed(f"You have claimed {task} before ({earlier}): one slot a person.")
    if len(tries) >= MAX_TRIES:
        raise TriedTooOften(f"You have let {task} go {MAX_TRIES} times: leave it to others.")
    held = Claim.objects.filter(open_claims(worker.pk)).count()
    if held >= limit_of(worker):
        raise TooManyOpenClaims(f"You hold {held} open claims and may hold {limit_of(worker)}: finish or drop one first.")
    lease_s = min(lease_s, _seconds(task.closes_at - now))
    if not lease_s:
        raise NotListed(f"{task} is over, or ends within a second.")
    slot = _take_slot(task, worker, lease_s=lease_s, now=now)
    claim = Claim.objects.create(
        task=task,
        slot=slot,
        slot_token=slot.token,
        worker=worker,
        terms_hash=terms_hash,
        expires_at=now + datetime.timedelta(seconds=lease_s),
        from_h3_cell=from_h3_cell,
    )
    return claim, True


def _require_right_to_claim(task: Task, worker: WorkerProfile) -> None:
    if worker.mode != task.mode:
        raise NotListed(f"No open task {task}.")
    if worker.is_suspended:
        raise WorkerSuspended("Your account is suspended: you can't claim until an operator lifts it.")
    if task.owner_id == worker.user_id:
        raise OwnTask(f"{task} was posted from your own account: nobody works for himself.")


def _take_slot(task: Task, worker: WorkerProfile, *, lease_s: int, now: datetime.datetime) -> Slot:
    """Take one free slot with a single statement; that the task is open is part of it."""
    open_now = Slot.objects.filter(task=task, task__status=Task.Status.LISTED, task__opens_at__lte=now, task__closes_at__gt=now)
    taken = open_now.hand_out(limit=1, holder=f"worker:{worker.pk}", lease_s=lease_s)
    if taken:
        return taken[0]
    if Task.objects.filter(pk=task.pk, status=Task.Status.LISTED, opens_at__lte=now, closes_at__gt=now).exists():
        raise AllTaken(f"Every slot of {task} is taken at the moment.")
    raise NotListed(f"No open task {task}.")


def extend(*, claim: Claim, by_s: int, now: datetime.datetime) -> None:
    """Let an active claim end ``by_s`` seconds later, once, and never past the end of the task's window.

    Raises:
        AlreadyExtended: it was extended before.
        StaleClaim: it is not active any more, or has got another end since it was read.
    """
    until = min(claim.expires_at + datetime.timedelta(seconds=by_s), claim.task.closes_at)
    active = Claim.objects.filter(pk=claim.pk, status=Claim.Status.ACTIVE, expires_at__gt=now, is_extended=False)
    if not active.filter(expires_at=claim.expires_at).update(expires_at=until, is_extended=True):
        claim.refresh_from_db()
        if claim.is_extended:
            raise AlreadyExtended(f"{claim} was extended before: once is the limit.")
        raise StaleClaim(f"{claim} is {claim.get_status_display()}: it can't be extended.")
    Slot.objects.heartbeat(pk=claim.slot_id, token=claim.slot_token, lease_s=_seconds(until - now))
    claim.expires_at, claim.is_extended = until, True


def hand_in(*, claim: Claim, is_retake: bool, now: datetime.datetime) -> None:
    """Mark an active claim submitted and keep its slot without a time limit.

    Raises:
        StaleClaim: not active any more, its time is over, or its retake began while the first submission was handed in.
    """
    active = Claim.objects.filter(pk=claim.pk, status=Claim.Status.ACTIVE, expires_at__gt=now, is_retake_used=is_retake)
    if not active.update(status=Claim.Status.SUBMITTED):
        raise StaleClaim(f"{claim} is not active any more: claim the task again if it is still open.")
    _held_slot(claim).update(lease_until=None)
    claim.status = Claim.Status.SUBMITTED


def reopen_for_retake(*, claim: Claim, lease_s: int, now: datetime.datetime) -> None:
    """Make a submitted claim active again with a fresh lease, once.

    Raises:
        StaleClaim: not submitted, or its retake is used.
    """
    lease_s = min(lease_s, int((claim.task.closes_at - now).total_seconds()))
    until = now + datetime.timedelta(seconds=lease_s)
    moved = Claim.objects.filter(pk=claim.pk, status=Claim.Status.SUBMITTED, is_retake_used=False, ended_at=None).update(
        status=Claim.Status.ACTIVE, is_retake_used=True, expires_at=until
    )
    if not moved:
        raise StaleClaim(f"{claim} offers no retake.")
    Slot.objects.heartbeat(pk=claim.slot_id, token=claim.slot_token, lease_s=lease_s)
    claim.status, claim.is_retake_used, claim.expires_at = Claim.Status.ACTIVE, True, until


def end_early(*, claim: Claim, status: Claim.Status, now: datetime.datetime) -> None:
    """Drop or expire an active claim. Its slot is let go separately: a rejection may still be open to appeal.

    Raises:
        StaleClaim: not active any more; to drop, its time is over; or to expire, it is not.
    """
    assert status in (Claim.Status.DROPPED, Claim.Status.EXPIRED)
    in_time = Q(expires_at__gt=now) if status == Claim.Status.DROPPED else Q(expires_at__lte=now)
    if not Claim.objects.filter(in_time, pk=claim.pk, status=Claim.Status.ACTIVE).update(status=status, ended_at=now):
        raise StaleClaim(f"{claim} is not active any more.")
    claim.status, claim.ended_at = status, now
    if status == Claim.Status.EXPIRED:
        WorkerProfile.objects.filter(pk=claim.worker_id).update(expired_count=F("expired_count") + 1)


def has_unsettled_work(claim: Claim) -> bool:
    """Tell whether a submission under the claim is not final yet, so that its slot must stay reserved."""
    return any(submission.final_at is None for submission in claim.submissions.all())


def keep(claim: Claim) -> None:
    """Keep the ended claim's slot without a time limit: a submission under it may still be accepted on appeal."""
    _held_slot(claim).update(lease_until=None)


def let_go(*, claim: Claim, now: datetime.datetime) -> None:
    """Make the claim's slot ready for another worker.

    Raises:
        leases.StaleLease: the slot is not held by this claim.
    """
    # Attempts are counted for work that may be given up as hopeless; a slot never is.
    Slot.objects.give_back(pk=claim.slot_id, token=claim.slot_token, attempts=0)
    if claim.ended_at is None:
        Claim.objects.filter(pk=claim.pk, ended_at=None).update(ended_at=now)


def complete(*, claim: Claim, now: datetime.datetime) -> None:
    """Mark the claim's slot done: its submission was accepted.

    Raises:
        leases.StaleLease: the slot is not held by this claim.
    """
    Slot.objects.finish(pk=claim.slot_id, token=claim.slot_token)
    Claim.objects.filter(pk=claim.pk, ended_at=None).update(ended_at=now)


def withdraw_free_slots(task_id: uuid.UUID) -> list[int]:
    """Take the task's free slots out for good and return their numbers; slots under a claim stay as they are."""
    slots = Slot.objects.filter(task_id=task_id, lease_state=leases.LeaseState.READY)
    # Locked in order, like every other pair of rows.
    free = slots.select_for_update(no_key=True).order_by("pk").values("pk")
    return sorted(slot.number for slot in changes.update(slots.filter(pk__in=free), lease_state=leases.LeaseState.DEAD))


def _held_slot(claim: Claim) -> leases.LeasedQuerySet[Slot]:
    return Slot.objects.filter(pk=claim.slot_id, token=claim.slot_token, lease_state=leases.LeaseState.LEASED)


def _seconds(span: datetime.timedelta) -> int:
    return max(0, int(span.total_seconds()))
