"""What a run is worth, from its evaluation and audit: valid, invalid, or ours to answer for. Each run is judged once."""

import datetime
import uuid

from django.db import transaction

from tasks import leases
from verification import dispatch
from verification.research import agreement, hosts, nudges, readings, reasons
from verification.research.models import Run, TrustedJob

_Stage = Run.Stage


def judge_run(*, run_id: uuid.UUID, now: datetime.datetime) -> None:
    """Judge a run that is handed in, if everything that was asked of the trusted pool is here; else nothing happens.

    An owner is not blamed for a tree that has no score: his run is valid, without one.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True).get(pk=run_id)
        if run.stage != _Stage.HANDED_IN:
            return
        jobs = {job.kind: job for job in TrustedJob.objects.filter(run=run, subject=run.pk.hex)}
        if any(job.lease_state == leases.LeaseState.DEAD for job in jobs.values()):
            _end(run, _Stage.CANCELLED, reasons.NOT_EVALUATED, now)
        elif all(job.lease_state == leases.LeaseState.DONE for job in jobs.values()):
            _conclude(run, jobs, now)


def _conclude(run: Run, jobs: dict[str, TrustedJob], now: datetime.datetime) -> None:
    audit = jobs.get(TrustedJob.Kind.AUDIT)
    evaluation = jobs.get(TrustedJob.Kind.EVALUATE)
    if audit is not None and not readings.Audit.model_validate(audit.readings).is_passed:
        _blame(run, reasons.AUDIT_FAILED, now)
    elif evaluation is None:
        # Two unrelated owners came to the same weights: they have the same score.
        twin = agreement.twin_of(run)
        _accept(run, twin.public_score if twin else None, twin.holdout_score if twin else None, twin.reason_code if twin else "", now)
    else:
        _score(run, readings.Evaluation.model_validate(evaluation.readings), now)


def _score(run: Run, evaluation: readings.Evaluation, now: datetime.datetime) -> None:
    assert run.report is not None
    score = evaluation.read_score
    if evaluation.leaf != run.report["leaves"][-1]:
        _blame(run, reasons.OTHER_WEIGHTS, now)
    elif score is None:
        _accept(run, None, None, evaluation.refusal or "", now)
    elif not score.is_clean:
        failed = next((probe.name for probe in score.probes if not probe.is_passed), "missing")
        _accept(run, None, None, f"probe_{failed}", now)
    else:
        _accept(run, score.public, score.holdout, "", now)


def _accept(run: Run, public: float | None, holdout: float | None, code: str, now: datetime.datetime) -> None:
    run.public_score, run.holdout_score = public, holdout
    if _end(run, _Stage.VALID, code or reasons.VALID, now, public_score=public, holdout_score=holdout):
        hosts.note_valid(run=run, now=now)


def _blame(run: Run, code: str, now: datetime.datetime) -> None:
    if _end(run, _Stage.INVALID, code, now):
        hosts.note_invalid(run=run)


def _end(run: Run, stage: Run.Stage, code: str, now: datetime.datetime, **fields: float | None) -> bool:
    moved = Run.objects.filter(pk=run.pk, stage=_Stage.HANDED_IN).update(stage=stage, reason_code=code, judged_at=now, **fields)
    if moved:
        nudges.wake(run)
        dispatch.nudge_research_verdicts()
    return bool(moved)
