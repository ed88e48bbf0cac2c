"""The rung and periodic work of research bounties' money: one use-case call, safe to run twice."""

from celery import shared_task

from market.bounties.research import sweeping
from tasks import clock


@shared_task(name="bounties.sweep_research", ignore_result=True)
def sweep(**kwargs: object) -> None:  # noqa: ARG001
    """Drive everything that waits for a verdict, a judged run or the clock."""
    sweeping.sweep(now=clock.now())
