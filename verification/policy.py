"""Which checks judge which kind of case, in which order, and what their results come to together."""

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from verification import checks
from verification.checks.result import CheckResult, Outcome

# Cheapest first. The first checks need nothing but the rows and the display copy; the second need the readings.
FIRST_CHECKS = {
    "photo": ("time_window", "geofence", "exif", "capture_time", "size", "exact_copy", "sharpness", "exposure", "near_copy"),
}
# Those that say nothing where no photo was handed in.
OF_PHOTOS = frozenset({"size", "exact_copy", "sharpness", "exposure", "near_copy"})
READING_CHECKS = {"photo": ("learned_copy", "shows")}

# The one that stands for a criterion on which several checks spoke.
_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.NOT_APPLICABLE)


class Ran(NamedTuple):
    """A result with the check that gave it."""

    check: checks.Check
    result: CheckResult


class Conclusion(enum.Enum):
    """What follows from the results."""

    ACCEPT = "accept"
    REJECT = "reject"
    PERSON = "a person decides"


def first_checks(kind: str) -> list[checks.Check]:
    """Return the checks to run before any model is asked, cheapest first."""
    return [checks.REGISTRY[name] for name in FIRST_CHECKS[kind]]


def reading_checks(kind: str) -> list[checks.Check]:
    """Return the checks over a vision worker's readings."""
    return [checks.REGISTRY[name] for name in READING_CHECKS[kind]]


def failed_hard(ran: Iterable[Ran]) -> bool:
    """Tell whether a check failed that may reject for good, so that no further one needs to run."""
    return any(one.result.outcome == Outcome.FAIL and one.check.weight is checks.Weight.HARD for one in ran)


def conclude(ran: Sequence[Ran], *, is_retake: bool, is_negative: bool) -> Conclusion:
    """Say what the results come to.

    A hard fail rejects. Another fail rejects a first submission, which may be retaken; on the retake a person decides,
    because no model rejects for good alone. "It can't be done" is for a person: nothing calibrates it. Whatever is
    left open is for a person. Only when every check passed is the case accepted.
    """
    if failed_hard(ran):
        return Conclusion.REJECT
    # What "can't be done" shows is not what the terms ask for: there only place, time and quality can fail.
    failed = [one for one in ran if one.result.outcome == Outcome.FAIL and not (is_negative and one.check.name == "shows")]
    if failed and not is_retake:
        return Conclusion.REJECT
    if is_negative or not ran or any(one.result.outcome not in (Outcome.PASS, Outcome.NOT_APPLICABLE) for one in ran):
        return Conclusion.PERSON
    return Conclusion.ACCEPT


def by_criterion(results: Iterable[CheckResult]) -> dict[str, CheckResult]:
    """Return for each criterion the worst result about it, in the order in which the criteria were first spoken of."""
    worst: dict[str, CheckResult] = {}
    for result in results:
        known = worst.get(result.criterion)
        if known is None or _WORST_FIRST.index(result.outcome) < _WORST_FIRST.index(known.outcome):
            worst[result.criterion] = result
    return worst
