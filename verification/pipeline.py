"""The judging of one submission, step by step; every step can be cut off anywhere and run again."""

import datetime
import hashlib
import hmac
import os
import socket
import time
import uuid
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from tasks import batches, leases
from tasks.kinds.photo import PhotoTerms
from tasks.models import Evidence, Submission
from verification import calibration, checks, dispatch, fingerprints, pictures, policy, reviews, verdicts, vision_runs
from verification import readings as shapes
from verification.checks import thresholds
from verification.checks.result import CaseFacts, CheckResult, CopyFacts, Limits, PhotoFacts
from verification.models import Case, CheckRun, Review, Verdict, VisionRun

LEASE_S = 60
MAX_ATTEMPTS = 6
# Of automatic acceptances, the share that a person looks at afterwards: the only unbiased measure of our errors.
AUDITED_SHARE = 0.03

_Stage = Case.Stage


def open_case(
    *,
    submission: Submission,
    max_false_accept: float,
    poster_review_window_s: int,
    terms_hash: str,
    now: datetime.datetime,  # noqa: ARG001 - leases go by the database's clock
) -> Case:
    """Start the judging of a submission, once; call it in the transaction that writes the submission.

    ``max_false_accept`` is the bounty's limit on P(bad | accepted), between 0 and 1.
    """
    case, _ = Case.objects.get_or_create(
        pk=submission.pk,
        defaults={
            "max_false_accept": max_false_accept,
            "poster_review_window_s": poster_review_window_s,
            "terms_hash": terms_hash,
        },
    )
    dispatch.nudge_advance(submission.pk)
    return case


def tighten(*, task_id: uuid.UUID, max_false_accept: float) -> int:
    """Bring every case of a task that the machine has not judged yet under a stricter limit; return how many.

    The token moves on: a machine that is judging by the old limit now finds its lease stale, and the sweeper starts again.
    """
    unjudged = Case.objects.filter(
        submission__task=task_id, stage__in=(_Stage.CHECKS, _Stage.VISION, _Stage.DECIDE), max_false_accept__gt=max_false_accept
    ).exclude(lease_state=leases.LeaseState.DEAD)
    return unjudged.update(
        max_false_accept=max_false_accept, token=F("token") + 1, lease_state=leases.LeaseState.READY, lease_until=None, lease_holder=""
    )


def advance(*, submission_id: uuid.UUID, now: datetime.datetime) -> None:
    """Take the case as far as it goes at this moment; a case that waits, is decided or is being worked on stays as it is."""
    for _ in range(len(_Stage)):
        workable = Case.objects.filter(pk=submission_id, stage__in=(_Stage.CHECKS, _Stage.DECIDE))
        leased = workable.hand_out(limit=1, holder=f"{socket.gethostname()}:{os.getpid()}"[:80], lease_s=LEASE_S)
        if not leased:
            return
        try:
            if leased[0].stage == _Stage.CHECKS:
                _check(leased[0], now)
            else:
                _judge(leased[0], now)
        except leases.StaleLease:
            # We took longer than the lease: whoever has the case now decides it.
            return


def sweep(*, now: datetime.datetime, limit: int = 50) -> int:
    """Re-drive what has no living lease: lapsed cases, overdue readings, lost doorbells; return how many cases moved on.

    Raises:
        ExceptionGroup: what went wrong with single cases, after all others had their turn.
    """
    working = Case.objects.filter(stage__in=(_Stage.CHECKS, _Stage.DECIDE))
    working.sweep(max_attempts=MAX_ATTEMPTS, delay_s=lambda attempts: float(2 ** min(attempts, 6)))
    vision_runs.sweep()
    is_due = Q(lease_state=leases.LeaseState.READY, available_at__lte=Now())
    waiting = working.filter(is_due | Q(lease_state=leases.LeaseState.DEAD)).order_by("available_at")
    return len(batches.drive(sweep="cases", due=waiting, work=lambda pk: _drive(pk, now), limit=limit, now=now))


def _drive(case_id: uuid.UUID, now: datetime.datetime) -> None:
    case = Case.objects.select_related("submission").get(pk=case_id)
    if case.lease_state == leases.LeaseState.DEAD:
        _give_up(case, now)
    else:
        advance(submission_id=case.pk, now=now)


def is_audited(submission_id: uuid.UUID) -> bool:
    """Tell whether an automatic acceptance is looked at afterwards; nobody without our secret can foretell it."""
    digest = hmac.digest(settings.SECRET_KEY.encode(), b"audit:" + submission_id.bytes, hashlib.sha256)
    return int.from_bytes(digest[:8], "big") < AUDITED_SHARE * 2**64


def _check(case: Case, now: datetime.datetime) -> None:
    """Run the first checks; reject, or ask for readings."""
    submission = _submission(case)
    terms, files = _terms(submission), _files(submission)
    measured = [(file, pictures.measure(file.display_sha256)) for file in files]
    copies = _copies(measured)
    photos = tuple(_photo_facts(file, picture) for file, picture in measured)
    facts = _facts(submission, terms, photos=photos, copies=copies)
    kind = submission.task.kind
    ran = _run([check for check in policy.first_checks(kind) if photos or check.name not in policy.OF_PHOTOS], facts, submission)
    is_rejected = any(one.result.outcome == CheckRun.Outcome.FAIL for one in ran) and _conclude(submission, ran) is policy.Conclusion.REJECT
    if is_rejected:
        _reject(case, submission, now)
        return
    with transaction.atomic():
        if files:
            _leave(case, stage=_Stage.VISION)
            vision_runs.ask(case=case, files=files, phrases=list(terms.must_show))
        else:
            _leave(case, stage=_Stage.DECIDE)


def _judge(case: Case, now: datetime.datetime) -> None:
    """Run the checks over the readings and conclude."""
    submission = _submission(case)
    facts = _facts_of_readings(case, submission)
    ran = _ran_before(submission) + _run(policy.reading_checks(submission.task.kind), facts, submission)
    conclusion = _conclude(submission, ran)
    if conclusion is policy.Conclusion.REJECT:
        _reject(case, submission, now)
    elif conclusion is policy.Conclusion.PERSON:
        _send_to_person(case, submission, now)
    elif case.poster_review_window_s:
        with transaction.atomic():
            _leave(case, stage=_Stage.REVIEW, machine_outcome=Verdict.Outcome.ACCEPTED, machine_decided_at=now)
            dispatch.nudge_verdicts()
    else:
        _accept(case, submission, now)


def _conclude(submission: Submission, ran: Sequence[policy.Ran]) -> policy.Conclusion:
    return policy.conclude(ran, is_retake=submission.number > 1, is_negative=submission.kind == Submission.Kind.NEGATIVE)


def _reject(case: Case, submission: Submission, now: datetime.datetime) -> None:
    with transaction.atomic():
        _leave(case, stage=_Stage.DECIDE, machine_outcome=Verdict.Outcome.REJECTED, machine_decided_at=now)
        _record(case, submission, Verdict.Outcome.REJECTED, now)


def _accept(case: Case, submission: Submission, now: datetime.datetime) -> None:
    with transaction.atomic():
        _leave(case, stage=_Stage.DECIDE, machine_outcome=Verdict.Outcome.ACCEPTED, machine_decided_at=now)
        _record(case, submission, Verdict.Outcome.ACCEPTED, now)
        if is_audited(submission.pk):
            reviews.open_review(submission=submission, kind=Review.Kind.AUDIT, now=now)


def _record(case: Case, submission: Submission, outcome: Verdict.Outcome, now: datetime.datetime) -> None:
    verdicts.record(
        submission=submission,
        outcome=outcome,
        decided_by=Verdict.Decider.MACHINE,
        criteria=verdicts.criteria_of(submission),
        terms_hash=case.terms_hash,
        now=now,
    )


def _send_to_person(case: Case, submission: Submission, now: datetime.datetime) -> None:
    with transaction.atomic():
        _leave(case, stage=_Stage.REVIEW, machine_decided_at=now)
        reviews.open_review(submission=submission, kind=Review.Kind.FIRST, now=now)
        # The market shows the submission as "in review" when it looks.
        dispatch.nudge_verdicts()


def _give_up(case: Case, now: datetime.datetime) -> None:
    """Give a case that failed us again and again to a person: an error of ours must not keep a worker waiting."""
    with transaction.atomic():
        moved = Case.objects.filter(pk=case.pk, lease_state=leases.LeaseState.DEAD, stage=case.stage).update(
            stage=_Stage.REVIEW, lease_state=leases.LeaseState.DONE, machine_decided_at=now
        )
        if moved:
            reviews.open_review(submission=case.submission, kind=Review.Kind.FIRST, now=now)
            dispatch.nudge_verdicts()


def _leave(case: Case, *, stage: Case.Stage, **fields: str | datetime.datetime) -> None:
    """Move the case and end our lease in one conditional update.

    Raises:
        leases.StaleLease: the lease ran out and somebody else has the case.
    """
    waits = stage in (_Stage.REVIEW, _Stage.DECIDED)
    moved = Case.objects.filter(pk=case.pk, token=case.token, lease_state=leases.LeaseState.LEASED).update(
        stage=stage,
        lease_state=leases.LeaseState.DONE if waits else leases.LeaseState.READY,
        lease_until=None,
        lease_holder="",
        attempts=0,
        **fields,
    )
    if not moved:
        raise leases.StaleLease(f"Token {case.token} no longer holds {case}.")


def _submission(case: Case) -> Submission:
    return Submission.objects.select_related("task", "claim", "worker").get(pk=case.pk)


def _terms(submission: Submission) -> PhotoTerms:
    return PhotoTerms.model_validate(submission.task.terms)


def _files(submission: Submission) -> list[Evidence]:
    return list(Evidence.objects.filter(submission=submission).select_related("submission__task").order_by("created_at", "pk"))


def _copies(measured: Sequence[tuple[Evidence, pictures.Picture]]) -> CopyFacts:
    """Store what each photo looks like, then look for earlier ones; in this order, or two at once would miss each other."""
    exact: list[fingerprints.Copy] = []
    near: list[fingerprints.Copy] = []
    for file, picture in measured:
        fingerprint = fingerprints.keep(evidence=file, picture=picture)
        exact += fingerprints.exact_copies(fingerprint)
        near += fingerprints.near_copies(fingerprint, picture)
    return CopyFacts(
        exact_earlier=sum(copy.was_received_earlier for copy in exact),
        exact_unordered=sum(not copy.was_received_earlier for copy in exact),
        nearest_bits=int(min(copy.measure for copy in near)) if near else None,
    )


def _photo_facts(file: Evidence, picture: pictures.Picture) -> PhotoFacts:
    return PhotoFacts(
        width_px=file.width_px,
        height_px=file.height_px,
        exif=file.untrusted_exif,
        sharpness=picture.sharpness,
        dark_level=picture.light.low,
        bright_level=picture.light.high,
        burnt_share=picture.light.bright_share,
    )


def _facts(
    submission: Submission,
    terms: PhotoTerms,
    *,
    photos: tuple[PhotoFacts, ...] = (),
    copies: CopyFacts,
    phrase_scores: tuple[float, ...] | None = None,
    limits: Limits | None = None,
) -> CaseFacts:
    return CaseFacts(
        terms=terms,
        latitude=submission.reported_latitude,
        longitude=submission.reported_longitude,
        accuracy_m=submission.reported_accuracy_m,
        captured_at=submission.reported_captured_at,
        received_at=submission.received_at,
        claimed_at=submission.claim.created_at,
        claim_expires_at=submission.claim.expires_at,
        closes_at=submission.task.closes_at,
        photos=photos,
        copies=copies,
        phrase_scores=phrase_scores,
        limits=limits,
    )


def _facts_of_readings(case: Case, submission: Submission) -> CaseFacts:
    read_runs = VisionRun.objects.filter(case=case, lease_state=leases.LeaseState.DONE).select_related("evidence__submission__task")
    done = list(read_runs.order_by("created_at", "pk"))
    nearest: float | None = None
    scores: list[list[float]] = []
    for run in done:
        read = shapes.Readings.model_validate(run.readings)
        scores.append(read.phrase_scores)
        descriptor = fingerprints.keep_descriptor(evidence=run.evidence, model_hash=run.model_hash, vector=read.vector())
        for copy in fingerprints.alike(descriptor, min_cosine=thresholds.COPY_COSINE):
            nearest = copy.measure if nearest is None else max(nearest, copy.measure)
    best = tuple(max(of_phrase) for of_phrase in zip(*scores, strict=True)) if scores else None
    limits = _limits(case, {run.model_hash for run in done})
    return _facts(submission, _terms(submission), copies=CopyFacts(nearest_cosine=nearest), phrase_scores=best, limits=limits)


def _limits(case: Case, model_hashes: set[str]) -> Limits | None:
    """Return the certified thresholds for the case, or None where nothing certifies them: a person decides."""
    found = calibration.thresholds_for(case.max_false_accept)
    if found is None:
        return None
    try:
        for model_hash in model_hashes:
            calibration.require_model(model_hash)
    except calibration.ModelNotCalibrated:
        return None
    return Limits(found.accept_at, found.retake_below)


def _run(chosen: Sequence[checks.Check], facts: CaseFacts, submission: Submission) -> list[policy.Ran]:
    """Run checks in order, to the first hard fail, and keep their results; run again, it writes the same rows."""
    ran: list[policy.Ran] = []
    rows: list[CheckRun] = []
    for check in chosen:
        started = time.perf_counter()
        results = check.run(facts)
        cost_ms = (time.perf_counter() - started) * 1000
        ran += [policy.Ran(check, result) for result in results]
        rows += [_row(check, result, submission, cost_ms) for result in results]
        if policy.failed_hard(ran):
            break
    CheckRun.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["submission", "check_name", "check_version", "criterion"],
        update_fields=["outcome", "reason_code", "score", "facts", "cost_ms"],
    )
    return ran


def _row(check: checks.Check, result: CheckResult, submission: Submission, cost_ms: float) -> CheckRun:
    return CheckRun(
        submission=submission,
        check_name=check.name,
        check_version=check.version,
        criterion=result.criterion,
        outcome=result.outcome,
        reason_code=result.reason_code,
        score=result.score,
        facts=dict(result.facts),
        cost_ms=round(cost_ms, 3),
    )


def _ran_before(submission: Submission) -> list[policy.Ran]:
    first = {check.name: check for check in policy.first_checks(submission.task.kind)}
    rows = CheckRun.objects.filter(submission=submission, check_name__in=first).order_by("check_name")
    return [
        policy.Ran(first[row.check_name], CheckResult(row.criterion, CheckRun.Outcome(row.outcome), row.reason_code, row.score))
        for row in rows
        if row.check_version == first[row.check_name].version
    ]
