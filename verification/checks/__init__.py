"""The checks, one pure function a module, and their registry. Which of them judge a case stands in `verification.policy`."""

import enum
from collections.abc import Callable
from typing import NamedTuple

from verification.checks import (
    capture_time,
    exact_copy,
    exif,
    exposure,
    geofence,
    learned_copy,
    near_copy,
    sharpness,
    shows,
    size,
    time_window,
)
from verification.checks.result import CaseFacts, CheckResult


class Weight(enum.Enum):
    """What a FAIL of a check may do alone."""

    HARD = "rejects for good"
    RETRY = "rejects with a retake; on the retake a person decides"
    SOFT = "never fails; leaves the case to a person"


class Check(NamedTuple):
    """A registered check: its name and version go on record with every result."""

    name: str
    version: int
    weight: Weight
    run: Callable[[CaseFacts], list[CheckResult]]


def _alone(check: Callable[[CaseFacts], CheckResult]) -> Callable[[CaseFacts], list[CheckResult]]:
    return lambda facts: [check(facts)]


def _each_phrase(facts: CaseFacts) -> list[CheckResult]:
    return [shows.check(facts, phrase=number) for number in range(len(facts.terms.must_show))]


REGISTRY = {
    check.name: check
    for check in (
        Check(time_window.NAME, time_window.VERSION, Weight.HARD, _alone(time_window.check)),
        Check(geofence.NAME, geofence.VERSION, Weight.HARD, _alone(geofence.check)),
        Check(exact_copy.NAME, exact_copy.VERSION, Weight.HARD, _alone(exact_copy.check)),
        Check(capture_time.NAME, capture_time.VERSION, Weight.SOFT, _alone(capture_time.check)),
        Check(exif.NAME, exif.VERSION, Weight.SOFT, _alone(exif.check)),
        Check(size.NAME, size.VERSION, Weight.RETRY, _alone(size.check)),
        Check(sharpness.NAME, sharpness.VERSION, Weight.RETRY, _alone(sharpness.check)),
        Check(exposure.NAME, exposure.VERSION, Weight.RETRY, _alone(exposure.check)),
        Check(near_copy.NAME, near_copy.VERSION, Weight.SOFT, _alone(near_copy.check)),
        Check(learned_copy.NAME, learned_copy.VERSION, Weight.SOFT, _alone(learned_copy.check)),
        Check(shows.NAME, shows.VERSION, Weight.RETRY, _each_phrase),
    )
}
