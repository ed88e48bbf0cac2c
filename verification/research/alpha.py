"""How much of the error budget a claimant has left in a task: many null candidates must not wait until one passes by chance."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Q

from verification.replay import policy
from verification.research.models import Candidate, ResearchTask


class AlphaSpent(Exception):
    """The claimant's candidates that brought no gain used up his error budget in this task; an accepted one gives him more."""


def budget(*, task: ResearchTask, claimant: AbstractBaseUser) -> policy.AlphaBudget:
    """Return what a claimant's record in a task leaves him. A candidate that never got to a pair of replays costs nothing."""
    mine = Candidate.objects.filter(task=task, claimant=claimant.pk)
    not_accepted = Q(status__in=(Candidate.Status.REJECTED, Candidate.Status.INCONCLUSIVE), test__isnull=False)
    return policy.AlphaBudget(
        accepted=mine.filter(status=Candidate.Status.ACCEPTED).count(),
        unaccepted=mine.filter(not_accepted | Q(status__in=Candidate.UNDECIDED)).count(),
    )


def require(*, task: ResearchTask, claimant: AbstractBaseUser) -> None:
    """Let a claimant send one more candidate; call it under the task's lock.

    Raises:
        AlphaSpent
    """
    if not budget(task=task, claimant=claimant).may_submit:
        raise AlphaSpent("Your candidates without a gain have used up your tries in this task. Those still judged may give you more.")
