"""Wake a candidate that waits for what has just come, instead of letting it look by itself."""

from django.db.models.functions import Now

from verification import dispatch
from verification.research.models import Candidate, Run


def wake(run: Run) -> None:
    """Let the candidate that is replayed in the run's task be looked at now; call it in the transaction that brings the news."""
    if run.task_id is None:
        return
    # A baseline may be of use to another candidate than the one it was asked for; one of a task is replayed at a time.
    Candidate.objects.filter(task=run.task_id, status=Candidate.Status.REPLAYING).update(available_at=Now())
    dispatch.nudge_research()


def wake_candidate(candidate: Candidate) -> None:
    """Let a candidate be looked at now."""
    Candidate.objects.filter(pk=candidate.pk).update(available_at=Now())
    dispatch.nudge_research()
