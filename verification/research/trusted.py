"""What only the trusted pool does: smoke runs, evaluations and audits, leased as rows and answered with typed readings."""

import datetime
import uuid
from collections.abc import Mapping

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from tasks import leases
from verification import dispatch
from verification.research import agreement, judging, nudges, readings, rules
from verification.research.models import Candidate, Run, TrustedJob

_Kind = TrustedJob.Kind


class NoJob(LookupError):
    """This key was not given a trusted job with that id."""


def ask_smoke(candidate: Candidate) -> TrustedJob:
    """Ask for the short run of a candidate's tree, once; call it in the transaction that moves the candidate."""
    spec = candidate.task.spec
    params = {"spec": spec, "tree_digest": candidate.tree_id}
    job, _ = TrustedJob.objects.get_or_create(
        kind=_Kind.SMOKE, subject=smoke_subject(candidate), defaults={"candidate": candidate, "params": params}
    )
    dispatch.ring_replay()
    return job


def smoke_subject(candidate: Candidate) -> str:
    """Return what a smoke run is asked for: a rebase makes another tree."""
    return f"{candidate.pk.hex}:{(candidate.tree_id or '')[:40]}"


def ask_for_run(*, run: Run, now: datetime.datetime) -> None:
    """Ask for a run's evaluation if its weights are new, and its audit if one was drawn; without either, judge it.

    Call it once, in the transaction that hands the run in.
    """
    jobs = []
    if agreement.twin_of(run) is None:
        jobs.append(_job(_Kind.EVALUATE, run, {}))
    if run.audited_segments:
        jobs.append(_job(_Kind.AUDIT, run, {"segments": run.audited_segments}))
    TrustedJob.objects.bulk_create(jobs)
    if jobs:
        dispatch.ring_replay()
    else:
        judging.judge_run(run_id=run.pk, now=now)


def params_of(job: TrustedJob) -> dict[str, object]:
    """Return what a job is told, beside its files: the spec, and of a run its seed, report and the segments to train again."""
    if job.kind == _Kind.SMOKE:
        return {"spec": job.params["spec"], "tree_digest": job.params["tree_digest"]}
    assert job.run is not None
    known: dict[str, object] = {"spec": job.run.spec, "seed": job.run.seed, "tree_digest": job.run.tree_id, "class_key": job.run.class_text}
    assert job.run.report is not None
    if job.kind == _Kind.EVALUATE:
        return {**known, "leaf": job.run.report["leaves"][-1]}
    return {**known, "report": job.run.report, "segments": job.params["segments"]}


def hand_out(
    *, key_id: uuid.UUID, user: AbstractBaseUser, holder: str, limit: int, lease_s: int, modes: tuple[str, ...]
) -> list[TrustedJob]:
    """Lease up to ``limit`` jobs, oldest first, to the holder of a trusted key; none of them concerns this user."""
    if limit < 1:
        return []
    concerns = (
        Q(candidate__claimant=user.pk)
        | Q(candidate__task__owner=user.pk)
        # What the pool itself has trained, it may score: nobody else could.
        | Q(run__owner=user.pk, run__is_trusted_only=False)
        | Q(run__candidate__claimant=user.pk)
        | Q(run__task__owner=user.pk)
    )
    his = TrustedJob.objects.filter(concerns, pk=OuterRef("pk"))
    of_modes = TrustedJob.objects.filter(Q(candidate__task__mode__in=modes) | Q(run__mode__in=modes))
    with transaction.atomic():
        jobs = of_modes.exclude(Exists(his)).hand_out(limit=min(limit, rules.MAX_HANDED_OUT), holder=holder[:80], lease_s=lease_s)
        TrustedJob.objects.filter(pk__in=[job.pk for job in jobs]).update(leased_by_key=key_id)
    for job in jobs:
        job.leased_by_key = key_id
    return jobs


def heartbeat(*, job_id: uuid.UUID, token: int, key_id: uuid.UUID, lease_s: int) -> None:
    """Let the lease end ``lease_s`` seconds from now.

    Raises:
        leases.StaleLease: the job went to another holder, or is done.
    """
    TrustedJob.objects.filter(leased_by_key=key_id).heartbeat(pk=job_id, token=token, lease_s=lease_s)


def complete(
    *, job_id: uuid.UUID, token: int, key_id: uuid.UUID, readings_json: Mapping[str, object], now: datetime.datetime
) -> TrustedJob:
    """Take the readings of a job, and judge what they complete. The same again changes nothing.

    Raises:
        NoJob
        readings.MalformedReadings: not of the published shape; the job stays leased.
        leases.StaleLease: the job went to another holder, or was given up.
    """
    job = _of_key(job_id, key_id)
    if _is_done(job, token):
        return job
    checked = readings.parse(kind=_Kind(job.kind), given=readings_json)
    with transaction.atomic():
        job = TrustedJob.objects.select_for_update(no_key=True).get(pk=job_id)
        if _is_done(job, token):
            return job  # The same came twice at once, and the other was first.
        TrustedJob.objects.filter(leased_by_key=key_id).finish(pk=job_id, token=token, readings=checked, completed_at=now)
        _go_on(job, now)
    job.refresh_from_db()
    return job


def fail(*, job_id: uuid.UUID, token: int, key_id: uuid.UUID, reason: str, now: datetime.datetime) -> str:
    """Take back a job that its holder can't do: another gets it later, up to `rules.TRUSTED_ATTEMPTS`; return the reason as a code.

    Raises:
        NoJob
        leases.StaleLease: the job went to another holder, or is done.
    """
    job = _of_key(job_id, key_id)
    with transaction.atomic():
        TrustedJob.objects.filter(leased_by_key=key_id).give_back(pk=job_id, token=token, delay_s=float(2 ** min(job.attempts, 6)))
        given_up = TrustedJob.objects.filter(pk=job_id, token=token, attempts__gte=rules.TRUSTED_ATTEMPTS)
        if given_up.update(lease_state=leases.LeaseState.DEAD):
            _go_on(job, now)
    return readings.code(reason)


def sweep(*, now: datetime.datetime) -> int:
    """Take back what holders let lapse, and let go on what has become of jobs that are given up; return how many were taken back."""
    swept = TrustedJob.objects.sweep(max_attempts=rules.TRUSTED_ATTEMPTS, delay_s=lambda attempts: float(2 ** min(attempts, 6)))
    given_up = TrustedJob.objects.filter(lease_state=leases.LeaseState.DEAD, run__stage=Run.Stage.HANDED_IN)
    for run_id in given_up.values_list("run", flat=True).distinct()[:100]:
        assert run_id is not None
        judging.judge_run(run_id=run_id, now=now)
    if TrustedJob.objects.filter(lease_state=leases.LeaseState.READY, available_at__lte=Now()).exists():
        dispatch.ring_replay()
    return swept


def _go_on(job: TrustedJob, now: datetime.datetime) -> None:
    if job.run_id is not None:
        judging.judge_run(run_id=job.run_id, now=now)
    elif job.candidate is not None:
        nudges.wake_candidate(job.candidate)


def _job(kind: TrustedJob.Kind, run: Run, params: dict[str, object]) -> TrustedJob:
    return TrustedJob(kind=kind, subject=run.pk.hex, run=run, params=params)


def _of_key(job_id: uuid.UUID, key_id: uuid.UUID) -> TrustedJob:
    job = TrustedJob.objects.filter(pk=job_id, leased_by_key=key_id).first()
    if job is None:
        raise NoJob(f"No trusted job {job_id} was handed to this key.")
    return job


def _is_done(job: TrustedJob, token: int) -> bool:
    return job.lease_state == leases.LeaseState.DONE and job.token == token
