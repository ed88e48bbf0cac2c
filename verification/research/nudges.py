"""Wake a candidate that waits for what has just come, instead of letting it look by itself."""

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from verification import dispatch
from verification.research.models import Candidate, Run


def wake(run: Run) -> None:
    """Let the candidate that is replayed in the run's task be looked at now; call it in the transaction that brings the news."""
    if run.task_id is not None:
        # A baseline may be of use to another candidate than the one it was asked for; one of a task is replayed at a time.
        _wake(Candidate.objects.filter(task=run.task_id, status=Candidate.Status.REPLAYING))


def wake_candidate(candidate: Candidate) -> None:
    """Let a candidate be looked at now."""
    _wake(Candidate.objects.filter(pk=candidate.pk))


def _wake(candidates: QuerySet[Candidate]) -> None:
    with transaction.atomic():
        # Never waits: whoever decides a candidate locks it first and its runs then, and we hold a run. It looks again by itself.
        free = candidates.select_for_update(skip_locked=True, no_key=True).values("pk")
        Candidate.objects.filter(pk__in=free).update(available_at=Now())
        dispatch.nudge_research()
