"""What the market shows of a judging that is under way: that a case waits for a person."""

import datetime
import uuid

from market.bounties import news
from market.bounties.models import Bounty
from market.common import retrying
from tasks import batches, submissions
from tasks.models import Submission
from verification.models import Case


def show_in_review(*, now: datetime.datetime, limit: int = 200) -> int:
    """Move every submission whose case waits for a person to IN_REVIEW; return how many."""
    waiting = Case.objects.filter(stage=Case.Stage.REVIEW, submission__status=Submission.Status.CHECKING)

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _show(pk))

    return sum(batches.drive(sweep="submissions in review", due=waiting.order_by("created_at"), work=work, limit=limit, now=now))


def _show(submission_id: uuid.UUID) -> bool:
    if not submissions.send_to_review(submission_id):
        return False  # Its verdict came first.
    submission = Submission.objects.get(pk=submission_id)
    bounty = Bounty.objects.select_related("agent").get(task_id=submission.task_id)
    news.tell_of_submission(bounty, submission, type="submission.in_review", actor="machine")
    return True
