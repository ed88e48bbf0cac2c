"""The place, by position and accuracy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import geo
from tests.verification.checks import facts
from verification.checks import geofence
from verification.checks.result import Outcome

# One degree of latitude on the sphere of tasks.geo.
DEGREE_M = geo.EARTH_RADIUS_M * math.pi / 180


def north_of_place(metres: float, accuracy_m: float | None) -> tuple[Outcome, str]:
    result = geofence.check(facts.honest(latitude=facts.PLACE[0] + metres / DEGREE_M, accuracy_m=accuracy_m))
    assert result.criterion == "in_place"
    return result.outcome, result.reason_code


@pytest.mark.parametrize(
    ("metres", "accuracy_m", "expected"),
    [
        (0, 10, (Outcome.PASS, "")),
        (49.9, 10, (Outcome.PASS, "")),
        (0, 0, (Outcome.PASS, "")),
        (0, 100, (Outcome.PASS, "")),
        # Just outside, but not certainly.
        (60, 10, (Outcome.INCONCLUSIVE, "position_uncertain")),
        (79.9, 10, (Outcome.INCONCLUSIVE, "position_uncertain")),
        # 3 sigma outside.
        (80.1, 10, (Outcome.FAIL, "outside_area")),
        (5_000, 100, (Outcome.FAIL, "outside_area")),
        # Who says that he might be anywhere does not pass by it.
        (0, 101, (Outcome.INCONCLUSIVE, "position_uncertain")),
        (5_000, 1_000_000, (Outcome.INCONCLUSIVE, "position_uncertain")),
        (0, None, (Outcome.INCONCLUSIVE, "no_position")),
        (0, -1, (Outcome.INCONCLUSIVE, "no_position")),
        (0, math.nan, (Outcome.INCONCLUSIVE, "no_position")),
        (0, math.inf, (Outcome.INCONCLUSIVE, "no_position")),
    ],
)
def test_decides_at_3_sigma(metres: float, accuracy_m: float | None, expected: tuple[Outcome, str]) -> None:
    assert north_of_place(metres, accuracy_m) == expected


def test_takes_a_missing_position_to_a_person() -> None:
    assert geofence.check(facts.honest(latitude=None, longitude=None)).outcome == Outcome.INCONCLUSIVE
    assert geofence.check(facts.honest(latitude=math.nan)).outcome == Outcome.INCONCLUSIVE


def test_takes_zero_degrees_for_a_place_like_any_other() -> None:
    equator = facts.TERMS.model_copy(update={"latitude": 0.0, "longitude": 0.0})
    assert geofence.check(facts.honest(terms=equator, latitude=0.0, longitude=0.0)).outcome == Outcome.PASS


@given(st.floats(0, 20_000), st.floats(0, 5_000), st.floats(0, 5_000))
def test_never_gets_better_by_going_away_nor_rejects_by_a_worse_accuracy(metres: float, accuracy_m: float, more_m: float) -> None:
    here, away = north_of_place(metres, accuracy_m)[0], north_of_place(metres + more_m, accuracy_m)[0]
    order = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]
    assert order.index(away) <= order.index(here)
    vaguer = north_of_place(metres, accuracy_m + more_m)[0]
    assert not (vaguer == Outcome.FAIL and here != Outcome.FAIL)
    assert not (vaguer == Outcome.PASS and here != Outcome.PASS)
