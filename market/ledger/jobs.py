"""The periodic work of the ledger (the settings route it to the queue ``money``)."""

from celery import shared_task

from market.ledger import marks


@shared_task(name="ledger.mark", ignore_result=True)
def mark(**kwargs: object) -> None:  # noqa: ARG001
    """Mark the balances of shared accounts."""
    marks.mark()
