"""Two on real connections, the second in the way of the first, in an order that the test decides and never the clock."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection, transaction

T = TypeVar("T")


def second_waits_for(first: Callable[[], T], second: Callable[[], T]) -> list[T | BaseException]:
    """Run ``first`` and keep its transaction open until ``second`` waits for a lock; then commit; return both outcomes."""
    is_done, may_commit = threading.Event(), threading.Event()

    def hold_open() -> T:
        try:
            with transaction.atomic():
                result = first()
                is_done.set()
                assert may_commit.wait(30)
                return result
        finally:
            is_done.set()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(_on_own_connection, hold_open)]
        assert is_done.wait(30)
        futures.append(pool.submit(_on_own_connection, second))
        while not futures[1].done() and not _somebody_waits():
            pass
        may_commit.set()
    errors = [future.exception() for future in futures]
    return [future.result() if error is None else error for future, error in zip(futures, errors, strict=True)]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')")
        return bool(cursor.fetchone()[0])


def _on_own_connection(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connection.close()
