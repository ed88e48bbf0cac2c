"""Places: they ..."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import geo

LATITUDES = st.floats(-85, 85)
LONGITUDES = st.floats(-180, 180)


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        ((52.5200, 13.4050), (48.8566, 2.3522), 877_464),  # Berlin, Paris
        ((0, 0), (0, 180), 20_015_115),
        ((0, 179.999), (0, -179.999), 222),
        ((90, 0), (90, 123), 0),
    ],
)
def test_are_as_far_apart_as_on_the_globe(a: tuple[float, float], b: tuple[float, float], metres: float) -> None:
    assert geo.haversine_m(*a, *b) == pytest.approx(metres, rel=1e-3, abs=1)


@settings(max_examples=150, deadline=None)
@given(LATITUDES, LONGITUDES, st.floats(0, 0.9999), st.floats(0, 360), st.sampled_from([100, 1_000, 5_000, 25_000]))
def test_are_found_wherever_they_lie_in_the_radius(
    latitude: float, longitude: float, share: float, bearing: float, radius_m: float
) -> None:
    there = geo_step(latitude, longitude, radius_m * share, bearing)
    assert geo.listing_cell(*there) in geo.cells_near(latitude, longitude, radius_m)


def geo_step(latitude: float, longitude: float, metres: float, bearing: float) -> tuple[float, float]:
    angle, course, phi = metres / geo.EARTH_RADIUS_M, math.radians(bearing), math.radians(latitude)
    north = math.asin(math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(course))
    east = math.atan2(math.sin(course) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * math.sin(north))
    return math.degrees(north), (longitude + math.degrees(east) + 540) % 360 - 180


def test_fit_a_signed_64_bit_column() -> None:
    assert 0 < geo.listing_cell(52.5, 13.4) < 2**63


@pytest.mark.parametrize(("metres", "seconds"), [(0, 300), (4, 301), (3000, 1050), (10**7, 4 * 3600)])
def test_take_longer_to_reach_from_farther(metres: float, seconds: int) -> None:
    assert geo.travel_estimate_s(metres) == seconds
