"""Going through many rows so that a bad one does not keep the others from their turn."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast

from tasks.models import Setback

Item = TypeVar("Item")
Result = TypeVar("Result")

# 2 s, 4 s, ... to an hour.
_MAX_DELAY_S = 3600
# A row that has not failed for so long was done some other way.
_FORGOTTEN_AFTER = datetime.timedelta(days=7)
# What stands for the error of a row while it is worked on; it stays where the process was killed.
_UNFINISHED = "unfinished"


class TryLater(Exception):
    """What `drive` takes from work that could not be done now and has told so itself: the row rests, and nobody else is told."""


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

    A row that fails, or whose work ends the process, waits longer after each time, so that such rows do not fill every
    batch. ``sweep`` names what is done: one row may wait in one sweep and not in another.

    Raises:
        ExceptionGroup: after the last row, with all that was raised.
    """
    resting = Setback.objects.filter(sweep=sweep, row=Cast(OuterRef("pk"), TextField()), next_try_at__gt=now)
    keys = list(due.exclude(Exists(resting)).values_list("pk", flat=True)[:limit])
    if not keys:
        return []
    tries = _begin(sweep, [str(key) for key in keys], now)

    def attempt(key: Any) -> Result:
        if str(key) in tries:
            # It failed, or began and never ended. Noted now, because it may end this process: then the next one passes it over.
            _note(sweep, {str(key): _UNFINISHED}, tries, now)
        return work(key)

    results, failures = _try_each(keys, attempt)
    _forget(sweep, [str(key) for key, _ in results])
    # The kind alone: a message may carry a worker's words.
    _note(sweep, {str(key): type(error).__name__[:80] for key, error in failures}, tries, now)
    _raise_all([error for _, error in failures if not isinstance(error, TryLater)], tried=len(keys))
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


def _begin(sweep: str, rows: Sequence[str], now: datetime.datetime) -> dict[str, int]:
    """Note that rows are begun; of those that were noted before, return how often each was tried."""
    tries = dict(Setback.objects.filter(sweep=sweep, row__in=rows).values_list("row", "tries"))
    # Sorted, here and in `_note`, so that two sweeps over the same rows cannot deadlock. A row that is merely begun does not
    # rest: another process need not wait for this batch to end.
    begun = [Setback(sweep=sweep, row=row, tries=0, error=_UNFINISHED, next_try_at=now) for row in sorted(set(rows) - set(tries))]
    Setback.objects.bulk_create(begun, ignore_conflicts=True)
    return tries


def _forget(sweep: str, rows: Sequence[str]) -> None:
    with transaction.atomic():
        # What another sweep is noting at this moment, it forgets itself.
        free = Setback.objects.filter(sweep=sweep, row__in=rows).select_for_update(skip_locked=True)
        Setback.objects.filter(pk__in=free.values("pk")).delete()


def _note(sweep: str, errors: Mapping[str, str], tries: Mapping[str, int], now: datetime.datetime) -> None:
    if not errors:
        return
    noted = []
    for row, error in sorted(errors.items()):
        made = tries.get(row, 0) + 1
        delay = datetime.timedelta(seconds=min(_MAX_DELAY_S, 2 ** min(made, 12)))
        noted.append(Setback(sweep=sweep, row=row, tries=made, error=error, next_try_at=now + delay))
    Setback.objects.bulk_create(
        noted, update_conflicts=True, unique_fields=["sweep", "row"], update_fields=["tries", "error", "next_try_at"]
    )
    Setback.objects.filter(next_try_at__lt=now - _FORGOTTEN_AFTER).delete()
