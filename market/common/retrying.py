"""Trying a transaction again when PostgreSQL gave it up for another one. It knows nothing of what is tried."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, connection, transaction

T = TypeVar("T")

ATTEMPTS = 8
_FIRST_DELAY_S = 0.005
_MAX_DELAY_S = 0.2

# serialization_failure and deadlock_detected.
_LOST_TO_ANOTHER = frozenset({"40001", "40P01"})


def in_transaction(work: Callable[[], T]) -> T:
    """Run ``work`` in a transaction; run all of it again, up to `ATTEMPTS` times, when it lost a deadlock or a race.

    Inside another transaction it runs once: half a transaction can't be tried again, so the outermost must be run by this
    function. There it is a `part`: who wants to go on after its failure calls `apart`. ``work`` must have no effect outside
    the database.

    Raises:
        django.db.OperationalError: it lost every attempt.
    """

    def attempt() -> T:
        with part():
            return work()

    return retry(attempt)


def apart(work: Callable[[], T]) -> T:
    """Run ``work`` as `in_transaction` does; inside another transaction its failure undoes itself alone."""

    def attempt() -> T:
        with transaction.atomic():
            return work()

    return retry(attempt)


class _Part(transaction.Atomic):
    """A block whose parts need no savepoints: what undoes one of them undoes it."""


def part() -> transaction.Atomic:
    """Return a transaction, or a part of the one around it that fails with it as a whole.

    Where the block around it is none of ours it gets a savepoint, because nobody knows whether it goes on after a failure.
    """
    blocks = connection.atomic_blocks
    return _Part(using=None, savepoint=not (blocks and isinstance(blocks[-1], _Part)), durable=False)


def retry(work: Callable[[], T]) -> T:
    """Run ``work``, which is one statement or one transaction, with the same rule as `in_transaction`."""
    if connection.in_atomic_block:
        return work()
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except DatabaseError as error:
            if not is_lost_to_another(error):
                raise
        # Random, so that two who met once don't meet again in step.
        time.sleep(random.uniform(0, min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**attempt)))  # noqa: S311
    return work()


def is_lost_to_another(error: DatabaseError) -> bool:
    """Tell whether PostgreSQL gave the transaction up for another one, so that the same again may succeed."""
    return getattr(error.__cause__, "sqlstate", None) in _LOST_TO_ANOTHER
