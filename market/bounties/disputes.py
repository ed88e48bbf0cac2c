"""Disputes: a worker's appeal against a rejection, giving it up, and what happens when its window has passed."""

import datetime
import uuid

from market.bounties import locks, news, settlement
from market.bounties.models import Appeal, Settlement
from market.common import retrying
from tasks import batches, submissions, text
from tasks.models import Claim, Submission, WorkerProfile
from verification import reviews
from verification.models import Review

STATEMENT_LENGTH = 1000


class NotAppealable(Exception):
    """The submission can't be appealed: it is not rejected, its window is over, or its retake is under way."""


def appeal(*, submission: Submission, worker: WorkerProfile, statement: str = "", now: datetime.datetime) -> Appeal:
    """Ask that a person who has not seen the case looks at a rejection; a second request returns the first.

    An appeal takes the place of an unused retake.

    Raises:
        tasks.submissions.NoSubmission: it is another worker's.
        NotAppealable: not rejected, the window is over, or the retake is under way.
    """
    _require_own(submission, worker)
    return retrying.in_transaction(lambda: _appeal(submission, statement, now))


def waive(*, submission: Submission, worker: WorkerProfile, now: datetime.datetime) -> Settlement | None:
    """Give up retake and appeal of a rejection, so that it is final now; None if it was final before.

    Raises:
        tasks.submissions.NoSubmission: it is another worker's.
        NotAppealable: there is no rejection to give in to, or its retake is under way.
    """
    _require_own(submission, worker)

    def work() -> Settlement | None:
        bounty = locks.lock_bounty_of_task(submission.task_id)
        current = Submission.objects.select_related("claim").get(pk=submission.pk)
        if current.status != Submission.Status.REJECTED or current.claim.status == Claim.Status.ACTIVE:
            raise NotAppealable(f"{submission} is {current.get_status_display()}: there is nothing to give up.")
        return settlement.settle_unpaid(bounty=bounty, submission=current, actor="worker", now=now)

    return retrying.in_transaction(work)


def finalise_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """End every rejection whose appeal window has passed (``appeal_until`` itself is past); return how many."""
    due = (
        Submission.objects.filter(status=Submission.Status.REJECTED, final_at=None, appeal_until__lte=now)
        .exclude(claim__status=Claim.Status.ACTIVE)
        .order_by("appeal_until")
    )

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _finalise(pk, now))

    return sum(batches.drive(sweep="rejections final", due=due, work=work, limit=limit, now=now))


def _appeal(submission: Submission, statement: str, now: datetime.datetime) -> Appeal:
    bounty = locks.lock_bounty_of_task(submission.task_id)
    earlier = Appeal.objects.filter(submission=submission).first()
    if earlier is not None:
        return earlier
    current = Submission.objects.select_related("claim").get(pk=submission.pk)
    if current.claim.status == Claim.Status.ACTIVE:
        raise NotAppealable(f"The retake of {submission} is under way: hand it in, or drop it and appeal.")
    try:
        submissions.appeal(submission=current, now=now)
    except submissions.StaleSubmission as stale:
        raise NotAppealable(str(stale)) from stale
    words = text.strip_to_plain(statement, max_length=STATEMENT_LENGTH)
    written = Appeal.objects.create(submission=current, untrusted_statement=words, created_at=now)
    reviews.open_review(submission=current, kind=Review.Kind.APPEAL, now=now)
    news.tell_of_submission(bounty, current, type="submission.appealed", actor="worker")
    return written


def _finalise(pk: uuid.UUID, now: datetime.datetime) -> bool:
    bounty = locks.lock_bounty_of_task(Submission.objects.values_list("task_id", flat=True).get(pk=pk))
    # Read again under the lock: an appeal or a retake may have come first.
    submission = (
        Submission.objects.select_related("claim")
        .filter(pk=pk, status=Submission.Status.REJECTED, appeal_until__lte=now)
        .exclude(claim__status=Claim.Status.ACTIVE)
        .first()
    )
    return submission is not None and settlement.settle_unpaid(bounty=bounty, submission=submission, actor="clock", now=now) is not None


def _require_own(submission: Submission, worker: WorkerProfile) -> None:
    if submission.worker_id != worker.pk:
        raise submissions.NoSubmission(f"No submission {submission}.")
