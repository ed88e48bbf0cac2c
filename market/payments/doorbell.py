"""Waking the workers of the money queue. The rows are the truth: a bell that nobody hears costs time, never money."""

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

_log = structlog.get_logger(__name__)


def ring_after_commit() -> None:
    """Have requested payouts sent soon after the present transaction commits."""
    transaction.on_commit(_ring)


def _ring() -> None:
    try:
        current_app.send_task("payments.send", queue="money", retry=False, ignore_result=True)
    except (KombuError, OSError) as error:
        _log.warning("doorbell_not_heard", job="payments.send", error=str(error))
