"""Background work of research bounties: each job is one use-case call."""

from celery import shared_task

from tasks import clock
from verification.research import advancing, sweeping


@shared_task(name="research.advance", ignore_result=True)
def advance(**kwargs: object) -> None:  # noqa: ARG001
    """Take candidates for whom there is news as far as they go."""
    advancing.advance_due(now=clock.now())


@shared_task(name="research.sweep", ignore_result=True)
def sweep(**kwargs: object) -> None:  # noqa: ARG001
    """Do what waits for the clock."""
    sweeping.sweep(now=clock.now())
