"""Many threads that do something at the same moment, each on its own database connection."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")

# Threads at once: they share two cores, and PostgreSQL its 100 connections with whatever else runs.
MOST_AT_ONCE = 16


def together(calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all calls, up to `MOST_AT_ONCE` of them at the same moment; return what each returned or raised, in order."""
    width = min(len(calls), MOST_AT_ONCE)
    # With a limit, so that a thread without a connection fails the test instead of hanging it.
    start, finish = threading.Barrier(width, timeout=30), threading.Barrier(width, timeout=60)
    begun = threading.local()

    def run(call: Callable[[], T]) -> T | Exception:
        if not hasattr(begun, "is_here"):
            begun.is_here = True
            connection.ensure_connection()
            start.wait()
        try:
            return call()
        except Exception as error:  # What was raised is a result here.
            return error

    def close(_: int) -> None:
        finish.wait()  # One in each thread: nobody takes two.
        connection.close()

    with ThreadPoolExecutor(max_workers=width) as pool:
        results = list(pool.map(run, calls))
        list(pool.map(close, range(width)))
    return results
