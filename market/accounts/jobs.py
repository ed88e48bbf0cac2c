"""The hourly work: forgetting what need not be kept."""

from celery import shared_task

from market.accounts import idempotency
from tasks import clock, evidence


@shared_task(name="accounts.tidy", ignore_result=True)
def tidy(**kwargs: object) -> None:  # noqa: ARG001
    """Delete old answers to machine workers, and photos that were never stored to their end."""
    idempotency.forget_leases(now=clock.now())
    evidence.forget_unfinished(now=clock.now())
