"""Background work of judging: each job is one use-case call."""

import uuid

from celery import shared_task

from tasks import clock
from verification import pipeline


@shared_task(name="verification.advance", ignore_result=True)
def advance(*, submission_id: str, **kwargs: object) -> None:  # noqa: ARG001
    """Take one case as far as it goes."""
    pipeline.advance(submission_id=uuid.UUID(submission_id), now=clock.now())


@shared_task(name="verification.sweep", ignore_result=True)
def sweep(**kwargs: object) -> None:  # noqa: ARG001
    """Re-drive every case that has no living lease."""
    pipeline.sweep(now=clock.now())
