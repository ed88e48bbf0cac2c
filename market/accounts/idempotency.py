"""First answers, kept so that the same request with the same Idempotency-Key is done once and answered alike for ever."""

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction

from market.accounts.models import IdempotentRequest
from market.common import retrying

# Answers to machines that lease work move no money, and there are many of them.
LEASE_ANSWERS_ARE_KEPT = datetime.timedelta(days=2)


class KeyReused(Exception):
    """The key was used for another request; a new request needs a new key."""


class StillRunning(Exception):
    """The first request with this key is being worked on: ask again in a second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks (``scope``), under which key, and the digest of all that must agree."""

    scope: str
    key: str
    method_and_path: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A status code and JSON text."""

    status_code: int
    body: str
    is_replay: bool = False


def recall(asked: Asked) -> Answer | None:
    """Return the first answer to this request, if it was answered.

    Raises:
        KeyReused: the key belongs to another request.
    """
    kept = IdempotentRequest.objects.filter(scope=asked.scope, key=asked.key).first()
    if kept is None:
        return None
    if kept.request_sha256 != asked.request_sha256:
        raise KeyReused("This Idempotency-Key was used for another request.")
    return Answer(kept.status_code, kept.response_body, is_replay=True)


def once(asked: Asked, effect: Callable[[], Answer]) -> Answer:
    """Do ``effect`` and keep its answer in one transaction, or return the answer that is kept already.

    A crash in between undoes both, so nothing is lost and nothing is done twice. An exception of ``effect`` undoes all
    of it and is not remembered. ``effect`` touches the database alone: it is run again after a lost deadlock.

    Raises:
        KeyReused: the key belongs to another request.
        StillRunning: the same key is being worked on at this moment.
    """

    def work() -> Answer:
        # The lock ends with the transaction, and waits for nobody: a double is told to come back instead of holding a thread.
        if not _try_lock(asked):
            raise StillRunning("The first request with this Idempotency-Key is still being worked on.")
        kept = recall(asked)
        if kept is not None:
            return kept
        answer = effect()
        _keep(asked, answer)
        return answer

    return retrying.in_transaction(work)


def after_repeatable(asked: Asked, effect: Callable[[], Answer]) -> Answer:
    """Keep the answer of an ``effect`` that leaves the process, and is by itself harmless to repeat.

    It runs outside any transaction; of several that run at once, all return the answer that was kept first.

    Raises:
        KeyReused: the key belongs to another request.
    """
    kept = recall(asked)
    if kept is not None:
        return kept
    answer = effect()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_lock_number(asked)])
        kept = recall(asked)
        if kept is not None:
            return kept
        _keep(asked, answer)
    return answer


def forget_leases(*, now: datetime.datetime) -> int:
    """Delete old answers to machine workers; return how many."""
    old = IdempotentRequest.objects.filter(scope__startswith="lease:", created_at__lt=now - LEASE_ANSWERS_ARE_KEPT)
    return old.delete()[0]


def _keep(asked: Asked, answer: Answer) -> None:
    IdempotentRequest.objects.create(
        scope=asked.scope,
        key=asked.key,
        method_and_path=asked.method_and_path[:300],
        request_sha256=asked.request_sha256,
        status_code=answer.status_code,
        response_body=answer.body,
    )


def _try_lock(asked: Asked) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_lock_number(asked)])
        (is_ours,) = cursor.fetchone()
    return bool(is_ours)


def _lock_number(asked: Asked) -> int:
    digest = hashlib.sha256(f"idempotency {asked.scope} {asked.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
