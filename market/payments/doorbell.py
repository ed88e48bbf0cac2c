"""Waking the workers of the money queue. The rows are the truth: a bell that nobody hears costs time, never money."""

import celery
import kombu.exceptions
import redis.exceptions
import structlog
from django.db import transaction

_UNHEARD = (kombu.exceptions.KombuError, redis.exceptions.RedisError, OSError)

_log = structlog.get_logger(__name__)


def ring_after_commit() -> None:
    """Have requested payouts sent soon after the present transaction commits."""
    transaction.on_commit(_ring)


def _ring() -> None:
    try:
        celery.current_app.send_task("payments.send", ignore_result=True)
    except _UNHEARD as error:
        _log.warning("doorbell_not_heard", job="payments.send", error=str(error))
