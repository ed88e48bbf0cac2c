"""The periodic and rung work of payments (the settings route it to the queue ``money``)."""

from celery import shared_task

from market.payments import payouts, sweeping
from tasks import clock


@shared_task(name="payments.send", ignore_result=True)
def send(**kwargs: object) -> None:  # noqa: ARG001
    """Hand requested payouts to their provider."""
    payouts.send_due(holder="payments.send", now=clock.now())


@shared_task(name="payments.sweep", ignore_result=True)
def sweep(**kwargs: object) -> None:  # noqa: ARG001
    """Drive everything that waits."""
    sweeping.sweep(now=clock.now())
