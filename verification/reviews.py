"""Reviews: a person reads a case - first where the machine may not decide, on appeal, or to audit an acceptance."""

import datetime
import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, transaction

from tasks import batches, leases, text
from tasks.models import Submission
from verification import verdicts
from verification.models import Case, Review, Verdict

REASON_LENGTH = 500
# How long money may wait for a person; an audit keeps none waiting (docs/decisions/0006).
TIME_LIMITS = {Review.Kind.FIRST: datetime.timedelta(days=7), Review.Kind.APPEAL: datetime.timedelta(days=7)}

# What an undecided review comes to: nobody could tell; but who appealed and was not heard is paid.
_UNDECIDED = {Review.Kind.FIRST: Verdict.Outcome.INCONCLUSIVE, Review.Kind.APPEAL: Verdict.Outcome.ACCEPTED}
_OPEN = (leases.LeaseState.READY, leases.LeaseState.LEASED)
_DECIDERS = {Review.Kind.FIRST: Verdict.Decider.REVIEWER, Review.Kind.APPEAL: Verdict.Decider.APPEAL}


class NoReview(LookupError):
    """There is no review with that id."""


class NotYourCase(Exception):
    """The reviewer posted the task, did the work or has judged this case before: another person must decide."""


class AlreadyReviewed(Exception):
    """The review was decided, or is not needed any more."""


class MalformedDecision(ValueError):
    """The decision lacks its reason or its published criterion; the message says which."""


def open_review(*, submission: Submission, kind: Review.Kind | str, now: datetime.datetime) -> Review:
    """Put a case in the queue of people, once for each kind; its time begins with the first request."""
    kind = Review.Kind(kind)
    due_at = now + TIME_LIMITS[kind] if kind in TIME_LIMITS else None
    review, _ = Review.objects.get_or_create(submission=submission, kind=kind, defaults={"due_at": due_at})
    return review


def waiting_for(reviewer: AbstractBaseUser) -> models.QuerySet[Review]:
    """Return the open reviews this person may decide, oldest first."""
    seen = Review.objects.filter(reviewer=reviewer.pk).values("submission__claim")
    return (
        Review.objects.filter(decision="", lease_state__in=_OPEN)
        .exclude(submission__task__owner=reviewer.pk)
        .exclude(submission__worker=reviewer.pk)
        .exclude(submission__claim__in=seen)
        .select_related("submission__task", "submission__worker")
        .order_by("created_at", "pk")
    )


def decide(
    *,
    review_id: uuid.UUID,
    reviewer: AbstractBaseUser,
    decision: Verdict.Outcome | str,
    criterion: str,
    reason: str,
    now: datetime.datetime,
) -> Verdict:
    """Decide a case; sent again by the same person it changes nothing. An audit leaves the verdict as it stands.

    ``criterion`` is the published one that a rejection names, "" otherwise; ``reason`` is told to the worker.

    Raises:
        NoReview, NotYourCase, AlreadyReviewed, MalformedDecision: see there.
    """
    decision = Verdict.Outcome(decision)
    words = text.strip_to_plain(reason, max_length=REASON_LENGTH)
    with transaction.atomic():
        # The case first, like every decider: two of them must not hold one half each.
        submission_id = Review.objects.filter(pk=review_id).values_list("submission_id", flat=True).first()
        case = Case.objects.select_for_update(no_key=True).select_related("submission__task").filter(pk=submission_id).first()
        if case is None:
            raise NoReview(f"There is no review {review_id}.")
        review = Review.objects.select_for_update(no_key=True).get(pk=review_id)
        if review.decision == decision and review.reviewer_id == reviewer.pk:
            return case.submission.verdicts.latest("round")
        if not _is_open(review):
            raise AlreadyReviewed(f"{review} is not open any more.")
        if review.due_at is not None and now >= review.due_at:
            raise AlreadyReviewed(f"The time of {review} is over: the clock decides it.")
        _require_stranger(review, case.submission, reviewer)
        _require_complete(review, case.submission, decision, criterion, words)
        review.decision, review.criterion, review.reason, review.decided_at = decision, criterion, words, now
        review.reviewer_id, review.lease_state, review.lease_until = reviewer.pk, leases.LeaseState.DONE, None
        review.save(update_fields=["decision", "criterion", "reason", "decided_at", "reviewer", "lease_state", "lease_until"])
        if review.kind == Review.Kind.AUDIT:
            return case.submission.verdicts.latest("round")
        return verdicts.record(
            submission=case.submission,
            outcome=decision,
            decided_by=_DECIDERS[Review.Kind(review.kind)],
            criteria=_criteria(case.submission, decision, criterion),
            terms_hash=case.terms_hash,
            now=now,
        )


def time_out_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Decide what no person has decided in time (``due_at`` itself is over); return how many.

    A first look comes to INCONCLUSIVE, an appeal to ACCEPTED. An audit has no limit.
    """
    due = Review.objects.filter(decision="", lease_state__in=_OPEN, due_at__lte=now).order_by("due_at", "pk")
    return sum(batches.drive(sweep="reviews timed out", due=due, work=lambda pk: _time_out(pk, now), limit=limit, now=now))


def _time_out(review_id: uuid.UUID, now: datetime.datetime) -> bool:
    with transaction.atomic():
        # The case first, as in `decide`: of clock and reviewer the second finds the review closed.
        submission_id = Review.objects.values_list("submission_id", flat=True).get(pk=review_id)
        case = Case.objects.select_for_update(no_key=True).select_related("submission__task").get(pk=submission_id)
        review = Review.objects.select_for_update(no_key=True).get(pk=review_id)
        if not _is_open(review):
            return False
        Review.objects.filter(pk=review.pk).update(lease_state=leases.LeaseState.DEAD, lease_until=None)
        verdicts.record(
            submission=case.submission,
            outcome=_UNDECIDED[Review.Kind(review.kind)],
            decided_by=Verdict.Decider.CLOCK,
            criteria=verdicts.criteria_of(case.submission),
            terms_hash=case.terms_hash,
            now=now,
        )
    return True


def _is_open(review: Review) -> bool:
    return not review.decision and review.lease_state in _OPEN


def _criteria(submission: Submission, decision: Verdict.Outcome, criterion: str) -> list[verdicts.CriterionOutcome]:
    if decision == Verdict.Outcome.ACCEPTED:
        return verdicts.criteria_of(submission, decided={"": decision})
    if decision == Verdict.Outcome.REJECTED:
        return verdicts.criteria_of(submission, decided={criterion: decision})
    return verdicts.criteria_of(submission)


def _require_stranger(review: Review, submission: Submission, reviewer: AbstractBaseUser) -> None:
    if reviewer.pk in (submission.task.owner_id, submission.worker_id):
        raise NotYourCase(f"{review} is about your own task or work: another person must decide.")
    if Review.objects.filter(submission__claim=submission.claim_id, reviewer=reviewer.pk).exclude(pk=review.pk).exists():
        raise NotYourCase(f"You have judged the case of {review} before: another person must decide.")


def _require_complete(review: Review, submission: Submission, decision: Verdict.Outcome, criterion: str, words: str) -> None:
    if not words:
        raise MalformedDecision("Say why: the worker and the poster read your reason.")
    if decision == Verdict.Outcome.REJECTED:
        published = verdicts.published_codes(submission)
        if criterion not in published:
            raise MalformedDecision(f"A rejection names one of the published criteria: {', '.join(published)}.")
    elif criterion:
        raise MalformedDecision("Only a rejection names a criterion.")
    if review.kind != Review.Kind.FIRST and decision == Verdict.Outcome.INCONCLUSIVE:
        raise MalformedDecision("An appeal or an audit is accepted or rejected.")
