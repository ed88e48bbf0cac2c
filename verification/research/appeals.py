"""Appeals: a run that was judged invalid is trained again, whole, by the trusted pool. What it cost its owner is not known here."""

import datetime
import uuid

from django.db import transaction
from django.db.models import Q

from tasks import batches, leases
from verification import dispatch
from verification.research import agreement, hosts, readings, rules, runs
from verification.research.models import Appeal, Artefact, Run, TrustedJob

_Status = Appeal.Status
_Stage = Run.Stage


class NotAppealable(Exception):
    """The run was not judged invalid, or the time to appeal is over."""


class AppealsSpent(Exception):
    """The owner's earlier appeals are open, or came to nothing, and each costs a training: appeal again when they are older."""


def until(run: Run) -> datetime.datetime | None:
    """Return until when a run may be appealed, that moment left out; None for one that was not judged invalid, or is the pool's."""
    if run.stage != _Stage.INVALID or run.is_trusted_only or run.judged_at is None:
        return None
    return run.judged_at + rules.APPEAL_WITHIN


def ask(*, run: Run, now: datetime.datetime) -> Appeal:
    """Ask for a run to be trained again, at no cost to its owner; a second request returns the first.

    Raises:
        NotAppealable, AppealsSpent
    """
    ends_at = until(run)
    earlier = Appeal.objects.filter(run=run).first()
    if earlier is not None:
        return earlier
    if ends_at is None:
        raise NotAppealable(f"Run {run} was not judged invalid.")
    if now >= ends_at:
        raise NotAppealable(f"Run {run} could be appealed until {ends_at:%Y-%m-%d %H:%M} UTC.")
    assert run.owner is not None
    with transaction.atomic():
        # Of two at once the second waits here, and finds the first one's row.
        hosts.lock(run.owner)
        earlier = Appeal.objects.filter(run=run).first()
        if earlier is not None:
            return earlier
        counted = Q(status=_Status.OPEN) | ~Q(status=_Status.OVERTURNED) & Q(asked_at__gt=now - rules.APPEALS_COUNT_FOR)
        if Appeal.objects.filter(counted, run__owner=run.owner_id).count() >= rules.MAX_APPEALS:
            raise AppealsSpent(f"{rules.MAX_APPEALS} appeals of yours are open, or did not show you to be right.")
        appeal = Appeal.objects.create(run=run, again=_ask_again(run), asked_at=now)
    dispatch.ring_replay()
    return appeal


def conclude_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Decide every appeal whose run has been trained again, or whose time is over; return how many."""
    due = Appeal.objects.filter(status=_Status.OPEN).order_by("asked_at")

    def work(pk: uuid.UUID) -> bool:
        return conclude(run_id=pk, now=now) != _Status.OPEN

    return sum(batches.drive(sweep="appeals decided", due=due, work=work, limit=limit, now=now))


def conclude(*, run_id: uuid.UUID, now: datetime.datetime) -> Appeal.Status:
    """Decide one appeal if that can be done now, and return its outcome.

    On the same class the pool's root must be the owner's. On another class the pool trains the audited segments again from the
    owner's own checkpoints, and they must end within the band of `verification.replay.tolerance`: over a whole run two classes drift
    apart. Where the pool can do neither in time, it is UNDECIDED.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True).get(pk=run_id)
        appeal = Appeal.objects.select_related("again").get(run=run)
        if appeal.status != _Status.OPEN:
            return _Status(appeal.status)
        status = _look(run, appeal, now)
        if status == _Status.OPEN:
            return status
        differs_from = first_difference(run, appeal.again) if status == _Status.STANDS else None
        open_ones = Appeal.objects.filter(pk=appeal.pk, status=_Status.OPEN)
        open_ones.update(status=status, decided_at=now, differs_from=differs_from)
        if status == _Status.OVERTURNED:
            hosts.note_overturned(run=run, now=now)
    return status


def first_difference(run: Run, again: Run) -> int | None:
    """Return the first checkpoint of a run that is another one than the pool's; None if there is none, or they are of two classes."""
    if not is_same_class(run, again):
        return None
    leaves = zip(_leaves_of(run), _leaves_of(again), strict=False)
    return next((index for index, (told, right) in enumerate(leaves) if told != right), None)


def _ask_again(run: Run) -> Run:
    return Run.objects.create(
        task_id=run.task_id,
        mode=run.mode,
        kind=Run.Kind.APPEAL,
        # No candidate: its round does not wait for this, and its reserve does not pay for it.
        tip_id=run.tip_id,
        tree_id=run.tree_id,
        spec=run.spec,
        seed_index=run.seed_index,
        seed=run.seed,
        class_text=run.class_text,
        hardware=run.hardware,
        level=run.level,
        is_trusted_only=True,
    )


def _look(run: Run, appeal: Appeal, now: datetime.datetime) -> Appeal.Status:
    again = appeal.again
    is_late = now >= appeal.asked_at + rules.APPEAL_DECIDED_WITHIN
    if again.stage != _Stage.VALID:
        is_given_up = again.stage in runs.ENDED or again.lease_state == leases.LeaseState.DEAD
        return _Status.UNDECIDED if is_given_up or is_late else _Status.OPEN
    if is_same_class(run, again):
        return _Status.OVERTURNED if agreement.root_of(run) == agreement.root_of(again) else _Status.STANDS
    found = _look_at_segments(run)
    return _Status.UNDECIDED if found == _Status.OPEN and is_late else found


def _look_at_segments(run: Run) -> Appeal.Status:
    here = set(Artefact.objects.filter(run=run).values_list("checkpoint", flat=True))
    segments = sorted(index for index in here if index + 1 in here)
    if not segments:
        return _Status.UNDECIDED
    job, is_new = TrustedJob.objects.get_or_create(
        kind=TrustedJob.Kind.AUDIT, subject=f"{run.pk.hex}:appeal", defaults={"run": run, "params": {"segments": segments}}
    )
    if is_new:
        dispatch.ring_replay()
    if job.lease_state == leases.LeaseState.DEAD:
        return _Status.UNDECIDED
    if job.lease_state != leases.LeaseState.DONE:
        return _Status.OPEN
    return _Status.OVERTURNED if readings.Audit.model_validate(job.readings).is_passed else _Status.STANDS


def is_same_class(run: Run, again: Run) -> bool:
    """Tell whether the pool trained on the very class of the owner, by their reports."""
    return _class_of(run) == _class_of(again)


def _class_of(run: Run) -> str:
    # A report kept from an earlier version may lack what it does not name.
    return str((run.report or {}).get("class_text", run.class_text))


def _leaves_of(run: Run) -> list[str]:
    found = (run.report or {}).get("leaves")
    return [str(leaf) for leaf in found] if isinstance(found, list) else []
