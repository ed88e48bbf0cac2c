"""The hourly work: forgetting photos that were never stored to their end."""

from celery import shared_task

from tasks import clock, evidence


@shared_task(name="tasks.tidy", ignore_result=True)
def tidy(**kwargs: object) -> None:  # noqa: ARG001
    """Delete what a kill left of photos in the middle of their storing."""
    evidence.forget_unfinished(now=clock.now())
