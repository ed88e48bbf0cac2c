"""Vision runs: handed out to GPU workers under a lease, their readings taken back once. Readings are never a verdict."""

import datetime
import re
import uuid
from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from tasks import leases
from tasks.models import Evidence, Mode
from verification import dispatch
from verification import readings as shapes
from verification.models import Case, VisionRun

MAX_ATTEMPTS = 4
MAX_LIMIT = 32
# After so long without readings a person judges without them.
WAIT = datetime.timedelta(minutes=15)

_OPEN = (leases.LeaseState.READY, leases.LeaseState.LEASED)
_REASON = re.compile(r"[^a-z0-9_]+")


class NoRun(LookupError):
    """This key has no vision run with that id."""


def ask(*, case: Case, files: list[Evidence], phrases: list[str]) -> None:
    """Ask for readings of each file, once; call it in the transaction that moves the case to VISION."""
    VisionRun.objects.bulk_create(
        [VisionRun(case=case, evidence=file, params={"phrases": phrases}) for file in files], ignore_conflicts=True
    )
    dispatch.ring_vision()


def hand_out(
    *,
    key_id: uuid.UUID,
    holder: str,
    limit: int,
    lease_s: int,
    modes: Sequence[str] = (Mode.TEST, Mode.LIVE),
    stranger_to: uuid.UUID | None = None,
) -> list[VisionRun]:
    """Lease up to ``limit`` runs (at most `MAX_LIMIT`) of tasks of these modes to the holder of an API key, oldest first.

    ``stranger_to`` is the user who owns the key: nobody reads for work that he did or asked for, because readings make verdicts.
    """
    if limit < 1:
        return []
    with transaction.atomic():
        theirs = VisionRun.objects.filter(case__submission__task__mode__in=modes)
        if stranger_to is not None:
            theirs = theirs.exclude(case__submission__worker=stranger_to).exclude(case__submission__task__owner=stranger_to)
        runs = theirs.hand_out(limit=min(limit, MAX_LIMIT), holder=holder[:80], lease_s=lease_s)
        VisionRun.objects.filter(pk__in=[run.pk for run in runs]).update(leased_by_key=key_id)
    for run in runs:
        run.leased_by_key = key_id
    return runs


def heartbeat(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, lease_s: int) -> None:
    """Let the lease end ``lease_s`` seconds from now.

    Raises:
        leases.StaleLease: the run went to another holder, is done, or nobody waits for it any more (`WAIT`).
    """
    # Or a holder who only ever says that he lives would keep a submission from its verdict for ever.
    wanted = VisionRun.objects.filter(leased_by_key=key_id, created_at__gte=Now() - WAIT)
    wanted.heartbeat(pk=run_id, token=token, lease_s=lease_s)


def complete(
    *,
    run_id: uuid.UUID,
    token: int,
    key_id: uuid.UUID,
    readings: Mapping[str, object],
    model_hash: str,
    preprocessing: str,
    now: datetime.datetime,
) -> None:
    """Take the readings of a run; with the last of its case the case goes on. The same again changes nothing.

    Raises:
        NoRun: this key was not given such a run.
        leases.StaleLease: the run went to another holder, or was given up.
        shapes.MalformedReadings: not of the published shape; the run stays leased.
    """
    run = VisionRun.objects.filter(pk=run_id, leased_by_key=key_id).first()
    if run is None:
        raise NoRun(f"No vision run {run_id} was handed to this key.")
    if _is_done(run, token):
        return
    checked = shapes.parse(readings=readings, phrases=len(run.params["phrases"]), model_hash=model_hash, preprocessing=preprocessing)
    with transaction.atomic():
        # The case first: two runs of one case must not each take the other for unfinished.
        Case.objects.select_for_update(no_key=True).get(pk=run.case_id)
        run.refresh_from_db()
        if _is_done(run, token):
            return  # The same came twice at once, and the other was first.
        VisionRun.objects.filter(leased_by_key=key_id).finish(
            pk=run_id,
            token=token,
            readings=checked.model_dump(mode="json"),
            model_hash=model_hash,
            preprocessing=preprocessing,
            completed_at=now,
        )
        _go_on([run.case_id])


def fail(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, reason: str) -> str:
    """Take a run back that its holder can't do: another one gets it later, up to `MAX_ATTEMPTS`; return the reason as a code.

    Raises:
        leases.StaleLease: the run went to another holder or is done.
    """
    mine = VisionRun.objects.filter(leased_by_key=key_id)
    with transaction.atomic():
        run = mine.filter(pk=run_id).first()
        if run is None:
            raise leases.StaleLease(f"No vision run {run_id} is leased to this key.")
        Case.objects.select_for_update(no_key=True).get(pk=run.case_id)
        mine.give_back(pk=run_id, token=token, delay_s=_delay_s(run.attempts))
        if mine.filter(pk=run_id, token=token, attempts__gte=MAX_ATTEMPTS).update(lease_state=leases.LeaseState.DEAD):
            _go_on([run.case_id])
    # Worker bytes: what is not a plain code does not reach a log.
    return _REASON.sub("_", reason.lower())[:40]


def sweep() -> None:
    """Take back what holders let lapse, give up what nobody reads in time, and let cases without open runs go on."""
    VisionRun.objects.filter(lease_state=leases.LeaseState.LEASED).sweep(max_attempts=MAX_ATTEMPTS, delay_s=_delay_s)
    VisionRun.objects.filter(lease_state=leases.LeaseState.READY, created_at__lt=Now() - WAIT).update(lease_state=leases.LeaseState.DEAD)
    open_runs = VisionRun.objects.filter(case=OuterRef("pk"), lease_state__in=_OPEN)
    waiting = Case.objects.filter(stage=Case.Stage.VISION).exclude(Exists(open_runs))
    _go_on(list(waiting.values_list("pk", flat=True)[:100]))
    if VisionRun.objects.filter(lease_state=leases.LeaseState.READY, available_at__lte=Now()).exists():
        dispatch.ring_vision()


def _is_done(run: VisionRun, token: int) -> bool:
    return run.lease_state == leases.LeaseState.DONE and run.token == token


def _go_on(case_ids: list[uuid.UUID]) -> None:
    """Move cases whose runs are all done or given up to DECIDE."""
    open_runs = VisionRun.objects.filter(case=OuterRef("pk"), lease_state__in=_OPEN)
    for case_id in case_ids:
        ready = Case.objects.filter(pk=case_id, stage=Case.Stage.VISION).exclude(Exists(open_runs))
        if ready.update(stage=Case.Stage.DECIDE, lease_state=leases.LeaseState.READY, available_at=Now()):
            dispatch.nudge_advance(case_id)


def _delay_s(attempts: int) -> float:
    return float(2 ** min(attempts, 6))
