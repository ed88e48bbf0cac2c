"""Doorbells: messages that wake the workers of a broker. The rows are the truth: a bell that nobody hears costs time, nothing else."""

import logging
import threading
import time
from functools import cache
from typing import Any

import celery
import kombu.exceptions
import redis.exceptions
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

# A request waits for a bell, so a broker that accepts and never answers must not hold it for long, nor hold each one.
TIMEOUT_S = 1
REST_S = 10

_UNHEARD = (kombu.exceptions.KombuError, redis.exceptions.RedisError, OSError)


class Bell:
    """The bell of one broker. After it went unheard it rests for `REST_S`; then one caller at a time tries it again."""

    def __init__(
        self, *, broker_url: str, transport_options: dict[str, Any], routes: dict[str, dict[str, str]], default_queue: str
    ) -> None:
        # An app of its own: a worker's own connections may wait longer, a bell may not.
        self._app = celery.Celery("doorbell", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            broker_transport_options={**transport_options, "socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S},
            broker_connection_timeout=TIMEOUT_S,
            task_publish_retry=False,
            task_routes=routes,
            task_default_queue=default_queue,
            task_serializer="json",
            accept_content=["json"],
        )
        self._rests_until = 0.0
        self._lock = threading.Lock()

    def ring(self, job: str, *, arguments: dict[str, str] | None = None, expires_s: int | None = None) -> bool:
        """Send a job's name and keywords; return whether the broker took it. Never raises for a broker's sake."""
        if not self._may_try():
            return False
        try:
            self._app.send_task(job, kwargs=arguments or {}, ignore_result=True, expires=expires_s)
        except _UNHEARD as error:
            self._rests_until = time.monotonic() + REST_S
            log.warning("doorbell not heard", extra={"job": job, "error": type(error).__name__})
            return False
        self._rests_until = 0.0
        return True

    def _may_try(self) -> bool:
        with self._lock:
            if self._rests_until == 0.0:
                return True
            if time.monotonic() < self._rests_until:
                return False
            # Whoever comes while this caller tries finds it resting.
            self._rests_until = time.monotonic() + REST_S
            return True


def ring_after_commit(job: str, *, arguments: dict[str, str] | None = None) -> None:
    """After commit, let one of the market's own workers begin a job without waiting for its sweeper."""
    transaction.on_commit(lambda: _market_bell().ring(job, arguments=arguments), robust=True)


@cache
def _market_bell() -> Bell:
    return Bell(
        broker_url=settings.CELERY_BROKER_URL,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        routes=settings.CELERY_TASK_ROUTES,
        default_queue=settings.CELERY_TASK_DEFAULT_QUEUE,
    )
