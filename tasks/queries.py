"""Reads of tasks, claims and submissions, for those who work. No prices: those stand in `market.bounties.queries`."""

import datetime
import uuid

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from tasks import claims, geo, submissions
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, Task, WorkerProfile


def open_tasks(*, mode: str, now: datetime.datetime) -> QuerySet[Task]:
    """Return tasks of a mode that can be claimed now: listed, inside their window, with a free slot (``free_slots``)."""
    free = Slot.objects.filter(task=OuterRef("pk"), lease_state=LeaseState.READY)
    return (
        Task.objects.filter(Exists(free), mode=mode, status=Task.Status.LISTED, opens_at__lte=now, closes_at__gt=now)
        .annotate(free_slots=Count("slots", filter=Q(slots__lease_state=LeaseState.READY)))
        .order_by("closes_at", "pk")
    )


def open_tasks_for(worker: WorkerProfile, *, now: datetime.datetime) -> QuerySet[Task]:
    """Return open tasks that this worker may claim: of his mode, not his own, not claimed by him before."""
    his = Claim.objects.filter(claims.used_up(worker.pk), task=OuterRef("pk"))
    return open_tasks(mode=worker.mode, now=now).exclude(owner_id=worker.pk).exclude(Exists(his))


def near(
    tasks: QuerySet[Task], *, latitude: float, longitude: float, radius_m: float, limit: int, after: Task | None = None
) -> list[tuple[Task, float]]:
    """Return tasks within ``radius_m`` of a place with their distance in metres, nearest first; those that follow ``after``."""
    nearby = tasks.filter(h3_cell__in=geo.cells_near(latitude, longitude, radius_m))
    found = [(task, geo.haversine_m(latitude, longitude, task.latitude, task.longitude)) for task in nearby]
    begin = (geo.haversine_m(latitude, longitude, after.latitude, after.longitude), after.pk) if after else None
    ranked = sorted((far, task.pk, task) for task, far in found if far <= radius_m and (begin is None or (far, task.pk) > begin))
    return [(task, far) for far, _, task in ranked[:limit]]


def first_to_close(tasks: QuerySet[Task], *, limit: int, after: Task | None = None) -> list[Task]:
    """Return tasks, those that close first first; those that follow ``after``."""
    if after is not None:
        tasks = tasks.filter(Q(closes_at__gt=after.closes_at) | Q(closes_at=after.closes_at, pk__gt=after.pk))
    return list(tasks.order_by("closes_at", "pk")[:limit])


def claims_of(worker: WorkerProfile) -> QuerySet[Claim]:
    """Return a worker's claims, newest first, with task and submissions."""
    return Claim.objects.filter(worker=worker).select_related("task").prefetch_related("submissions").order_by("-id")


def claim_of(worker: WorkerProfile, claim_id: uuid.UUID) -> Claim:
    """Return one of a worker's claims.

    Raises:
        tasks.claims.NoClaim: he has none with that id.
    """
    claim = Claim.objects.filter(worker=worker, pk=claim_id).select_related("task", "worker").first()
    if claim is None:
        raise claims.NoClaim("You have no claim with this id.")
    return claim


def submission_of(worker: WorkerProfile, submission_id: uuid.UUID) -> Submission:
    """Return one of a worker's submissions.

    Raises:
        tasks.submissions.NoSubmission: he has none with that id.
    """
    submission = Submission.objects.filter(worker=worker, pk=submission_id).select_related("claim", "task").first()
    if submission is None:
        raise submissions.NoSubmission("You have no submission with this id.")
    return submission
