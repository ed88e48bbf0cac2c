"""The periodic work of events: numbering, and sending to webhook endpoints."""

from celery import shared_task

from market.events import delivery
from tasks import clock

# One job sends this many batches at most, then leaves its worker to others: 50 s where every endpoint hangs.
MAX_BATCHES = 10


@shared_task(name="events.deliver", ignore_result=True)
def deliver(**kwargs: object) -> None:  # noqa: ARG001
    """Number new events and send what is due."""
    for _ in range(MAX_BATCHES):
        if not delivery.deliver_due(now=clock.now()):
            return
