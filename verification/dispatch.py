"""Doorbells: the only place that names other programs' jobs. A bell that is not heard loses nothing, the rows stand."""

import logging
import uuid
from functools import cache

import celery
import kombu.exceptions
import redis.exceptions
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

_UNHEARD = (kombu.exceptions.KombuError, redis.exceptions.RedisError, OSError)


def ring_vision() -> None:
    """After commit, wake a GPU worker: vision runs are ready to be leased."""
    transaction.on_commit(_ring_gpu, robust=True)


def nudge_advance(submission_id: uuid.UUID) -> None:
    """After commit, let a worker advance a case without waiting for the sweeper."""
    transaction.on_commit(lambda: _send("verification.advance", {"submission_id": str(submission_id)}), robust=True)


def nudge_verdicts() -> None:
    """After commit, let the market apply new verdicts, and see new cases for a person, without waiting for its sweeper."""
    transaction.on_commit(lambda: _send("bounties.apply_verdicts", {}), robust=True)


def _send(job: str, arguments: dict[str, str]) -> None:
    try:
        celery.current_app.send_task(job, kwargs=arguments, ignore_result=True)
    except _UNHEARD:
        log.warning("doorbell not heard", extra={"job": job})


def _ring_gpu() -> None:
    try:
        # A bell nobody hears in a minute is thrown away: the sweeper rings again while runs are ready.
        _gpu_app().send_task("gpu.work_vision", queue="gpu", ignore_result=True, expires=60)
    except _UNHEARD:
        log.warning("doorbell not heard", extra={"job": "gpu.work_vision"})


@cache
def _gpu_app() -> celery.Celery:
    # The GPU workers' broker is another one than ours: who can write to it can't run our jobs.
    app = celery.Celery("gpu_doorbell", broker=settings.GPU_BROKER_URL, set_as_current=False)
    app.conf.update(
        broker_transport_options=settings.GPU_BROKER_TRANSPORT_OPTIONS,
        task_publish_retry_policy=settings.CELERY_TASK_PUBLISH_RETRY_POLICY,
        task_serializer="json",
        accept_content=["json"],
    )
    return app
