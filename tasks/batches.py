"""Going through many rows so that a bad one does not keep the others from their turn."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast

from tasks.models import Setback

Item = TypeVar("Item")
Result = TypeVar("Result")

# 2 s, 4 s, ... to an hour.
_MAX_DELAY_S = 3600
# A row that has not failed for so long was done some other way.
_FORGOTTEN_AFTER = datetime.timedelta(days=7)


def for_each(items: Iterable[Item], work: Callable[[Item], Result]) -> list[Result]:
    """Do ``work`` for every item and return the results.

    Raises:
        ExceptionGroup: after the last item, with all that was raised: nothing is silent, and nothing is held up.
    """
    results, failures = _try_each(items, work)
    _raise_all([error for _, error in failures], tried=len(results) + len(failures))
    return [result for _, result in results]


def drive(*, sweep: str, due: QuerySet[Any, Any], work: Callable[[Any], Result], limit: int, now: datetime.datetime) -> list[Result]:
    """Do ``work`` for the primary keys of the first ``limit`` rows of ``due`` and return the results.

    A row that fails waits longer after each failure, so that rows which fail for ever do not fill every batch. ``sweep``
    names what is done: one row may wait in one sweep and not in another.

    Raises:
        ExceptionGroup: after the last row, with all that was raised.
    """
    resting = Setback.objects.filter(sweep=sweep, row=Cast(OuterRef("pk"), TextField()), next_try_at__gt=now)
    keys = list(due.exclude(Exists(resting)).values_list("pk", flat=True)[:limit])
    results, failures = _try_each(keys, work)
    if results:
        Setback.objects.filter(sweep=sweep, row__in=[str(key) for key, _ in results]).delete()
    if failures:
        _note(sweep, [(str(key), error) for key, error in failures], now)
    _raise_all([error for _, error in failures], tried=len(keys))
    return [result for _, result in results]


def _try_each(items: Iterable[Item], work: Callable[[Item], Result]) -> tuple[list[tuple[Item, Result]], list[tuple[Item, Exception]]]:
    results, failures = [], []
    for item in items:
        try:
            results.append((item, work(item)))
        except Exception as error:
            failures.append((item, error))
    return results, failures


def _raise_all(errors: Sequence[Exception], *, tried: int) -> None:
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {tried} failed", errors)


def _note(sweep: str, failures: Sequence[tuple[str, Exception]], now: datetime.datetime) -> None:
    known = dict(Setback.objects.filter(sweep=sweep, row__in=[row for row, _ in failures]).values_list("row", "tries"))
    noted = []
    for row, error in failures:
        tries = known.get(row, 0) + 1
        delay = datetime.timedelta(seconds=min(_MAX_DELAY_S, 2 ** min(tries, 12)))
        # The kind alone: a message may carry a worker's words.
        noted.append(Setback(sweep=sweep, row=row, tries=tries, error=type(error).__name__[:80], next_try_at=now + delay))
    Setback.objects.bulk_create(
        noted, update_conflicts=True, unique_fields=["sweep", "row"], update_fields=["tries", "error", "next_try_at"]
    )
    Setback.objects.filter(next_try_at__lt=now - _FORGOTTEN_AFTER).delete()
