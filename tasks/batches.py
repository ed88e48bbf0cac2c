"""Going through many rows so that a bad one does not keep the others from their turn."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(items: Iterable[Item], work: Callable[[Item], Result]) -> list[Result]:
    """Do ``work`` for every item and return the results.

    Raises:
        ExceptionGroup: after the last item, with all that was raised: nothing is silent, and nothing is held up.
    """
    results, errors = [], []
    for item in items:
        try:
            results.append(work(item))
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(errors) + len(results)} failed", errors)
    return results
