"""The hourly work: forgetting what need not be kept."""

from celery import shared_task

from market.accounts import idempotency
from tasks import clock


@shared_task(name="accounts.tidy", ignore_result=True)
def tidy(**kwargs: object) -> None:  # noqa: ARG001
    """Delete old answers to machine workers."""
    idempotency.forget_leases(now=clock.now())
