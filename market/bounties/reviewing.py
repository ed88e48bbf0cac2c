"""The poster's review, only where the terms ask for it: his word, or his silence, which pays."""

import datetime
import uuid

from django.db.models import DurationField, ExpressionWrapper, F, QuerySet, Value

from market.accounts.models import Agent
from market.bounties import locks, settlement
from market.common import retrying
from tasks import batches, submissions
from tasks.models import Submission
from verification import verdicts
from verification.models import Case, Verdict


class NotForPoster(Exception):
    """The submission does not wait for its poster: his terms ask for no review, its time is over, or it is decided."""


class UnknownCriterion(ValueError):
    """A rejection must name one of the task's published criteria; the message lists them."""


def decide_as_poster(*, submission: Submission, agent: Agent, is_accepted: bool, criterion: str = "", now: datetime.datetime) -> Verdict:
    """Accept, or reject by a published criterion, a submission whose machine checks passed, inside the review window.

    The same decision again returns the first one.

    Raises:
        tasks.submissions.NoSubmission: it is another agent's.
        UnknownCriterion: a rejection without one of the task's criteria.
        NotForPoster: it does not wait for its poster.
    """
    bounty = submission.task.bounty
    if bounty.agent_id != agent.pk:
        raise submissions.NoSubmission(f"No submission {submission}.")
    codes = verdicts.published_codes(submission)
    if not is_accepted and criterion not in codes:
        raise UnknownCriterion(f"Reject by one of the task's criteria: {', '.join(codes)}.")
    outcome = Verdict.Outcome.ACCEPTED if is_accepted else Verdict.Outcome.REJECTED
    rejected = {} if is_accepted else {criterion: outcome}

    def work() -> Verdict:
        # First, so that of the same decision sent twice at once the second finds what the first one did.
        locks.lock_bounty(bounty.pk)
        earlier = _earlier(submission, outcome)
        return earlier or _decide(submission.pk, outcome, Verdict.Decider.POSTER, rejected, now)

    return retrying.in_transaction(work)


def accept_silence(*, now: datetime.datetime, limit: int = 200) -> int:
    """Accept what the machine found good and whose poster said nothing in his window (its end counts as over)."""
    window = ExpressionWrapper(F("poster_review_window_s") * Value(datetime.timedelta(seconds=1)), output_field=DurationField())
    due = _waiting_for_poster().annotate(window=window).filter(machine_decided_at__lte=now - F("window")).order_by("machine_decided_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _accept_by_silence(pk, now))

    return sum(batches.drive(sweep="silences accepted", due=due, work=work, limit=limit, now=now))


def review_until(case: Case) -> datetime.datetime | None:
    """Return when the poster's silence will accept the case, or None where it does not wait for the poster."""
    is_waiting = case.stage == Case.Stage.REVIEW and case.machine_outcome == Verdict.Outcome.ACCEPTED and case.poster_review_window_s
    if not is_waiting or case.machine_decided_at is None:
        return None
    return case.machine_decided_at + datetime.timedelta(seconds=case.poster_review_window_s)


def _accept_by_silence(submission_id: uuid.UUID, now: datetime.datetime) -> bool:
    try:
        _decide(submission_id, Verdict.Outcome.ACCEPTED, Verdict.Decider.SILENCE, {}, now)
    except NotForPoster:
        return False  # The poster spoke since it was listed.
    return True


def _decide(
    submission_id: uuid.UUID,
    outcome: Verdict.Outcome,
    decided_by: Verdict.Decider,
    rejected: dict[str, Verdict.Outcome],
    now: datetime.datetime,
) -> Verdict:
    submission = Submission.objects.select_related("claim").get(pk=submission_id)
    locks.lock_bounty_of_task(submission.task_id)
    case = _waiting_for_poster().filter(pk=submission_id).first()
    until = review_until(case) if case else None
    is_in_time = until is not None and (now >= until) == (decided_by == Verdict.Decider.SILENCE)
    if not is_in_time:
        raise NotForPoster(f"{submission} does not wait for its poster (any more).")
    verdict = verdicts.record(
        submission=submission,
        outcome=outcome,
        decided_by=decided_by,
        criteria=verdicts.criteria_of(submission, decided=rejected),
        terms_hash=submission.claim.terms_hash,
        now=now,
    )
    settlement.apply_verdict(verdict_id=verdict.pk, now=now)
    return verdict


def _waiting_for_poster() -> QuerySet[Case]:
    return Case.objects.filter(
        stage=Case.Stage.REVIEW, machine_outcome=Verdict.Outcome.ACCEPTED, poster_review_window_s__gt=0, submission__verdicts=None
    )


def _earlier(submission: Submission, outcome: Verdict.Outcome) -> Verdict | None:
    return submission.verdicts.filter(decided_by=Verdict.Decider.POSTER, outcome=outcome).first()
