"""The rung and periodic work of bounties: each job is one use-case call, safe to run twice."""

from celery import shared_task

from market.bounties import sweeping
from tasks import clock


@shared_task(name="bounties.apply_verdicts", ignore_result=True)
def apply_verdicts(**kwargs: object) -> None:  # noqa: ARG001
    """Apply new verdicts, make payable what they paid, and show what waits for a person."""
    sweeping.sweep(now=clock.now(), steps=sweeping.AFTER_JUDGING)


@shared_task(name="bounties.sweep", ignore_result=True)
def sweep(**kwargs: object) -> None:  # noqa: ARG001
    """Drive everything that waits for the clock or for a verdict."""
    sweeping.sweep(now=clock.now())
