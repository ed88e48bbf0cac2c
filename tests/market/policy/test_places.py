"""Places: the country of a point, and a task's whole circle against restricted places, also where the map is cut."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from market.policy import countries, places, sphere


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        (52.5200, 13.4050, "DE"),
        (48.8566, 2.3522, "FR"),
        (40.7128, -74.0060, "US"),
        (21.3069, -157.8583, "US"),
        (35.6892, 51.3890, "IR"),
        (23.1136, -82.3666, "CU"),
        (39.0392, 125.7625, "KP"),
        (33.5138, 36.2765, "SY"),
        (44.9521, 34.1024, "XC"),
        (44.6167, 33.5254, "XC"),
        (48.0159, 37.8029, "XD"),
        (48.5740, 39.3078, "XL"),
        (50.4501, 30.5234, "UA"),
        (49.9935, 36.2304, "UA"),
        (22.3193, 114.1694, "HK"),
        (-16.8, 180.0, "FJ"),
        (-16.8, -180.0, "FJ"),
        (66.0, 180.0, "RU"),
        (66.0, -540.0, "RU"),
        (30.0, -45.0, None),
        (90.0, 0.0, None),
        (35.3, 33.4, None),
        (float("nan"), 0.0, None),
        (0.0, float("inf"), None),
        (90.5, 0.0, None),
    ],
)
def test_knows_the_country(latitude: float, longitude: float, expected: str | None) -> None:
    assert places.country_at(latitude, longitude) == expected


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_answers_any_numbers(latitude: float, longitude: float) -> None:
    country = places.country_at(latitude, longitude)
    assert country is None or len(country) == 2


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))
def test_a_turn_of_the_globe_changes_nothing(latitude: float, longitude: float) -> None:
    # Not at a border to the millimetre, where the turned number's rounding decides.
    assert places.country_at(latitude, longitude) == places.country_at(latitude, longitude + 360.0) or places.country_at(
        latitude, longitude
    ) != places.country_at(latitude + 1e-7, longitude + 1e-7)


@pytest.mark.parametrize("country", [None, "", "ZZ", "AQ", "de", "IR'--"])
@pytest.mark.parametrize("purpose", ["task", "residence", "payout"])
def test_denies_unknown_countries(country: str | None, purpose: countries.Purpose) -> None:
    assert countries.decide(country, purpose).codes == ("country_unknown",)


@pytest.mark.parametrize("country", ["IR", "CU", "KP", "SY", "XC", "XD", "XL"])
@pytest.mark.parametrize("purpose", ["task", "residence", "payout"])
def test_denies_embargoed_countries(country: str | None, purpose: countries.Purpose) -> None:
    assert countries.decide(country, purpose).codes == ("embargoed",)


def test_denies_tasks_in_conflict_zones_but_not_who_lives_there() -> None:
    assert countries.decide("UA", "task").codes == ("conflict_zone",)
    assert countries.decide("UA", "payout").is_allowed


def test_allows_the_rest_with_its_version() -> None:
    decision = countries.decide("DE", "task")
    assert (decision.is_allowed, decision.version) == (True, countries.VERSION)
    assert ("DE", "Germany") in countries.names()


def test_refuses_an_unknown_purpose() -> None:
    with pytest.raises(ValueError, match="is not a purpose"):
        countries.decide("DE", "holiday")  # type: ignore[arg-type]  # what a caller must not do


def test_every_denial_names_its_source() -> None:
    for entry in countries._TABLE["countries"].values():
        for purpose, denial in entry.get("denied", {}).items():
            assert purpose in countries._TABLE["purposes"]
            assert denial["code"]
            assert denial["source"]


@pytest.mark.parametrize(
    ("latitude", "longitude", "within_m", "code"),
    [
        (38.8719, -77.0563, 10, "military_site"),
        (51.4776, -0.4600, 10, "airport_airside"),
        (54.420, -3.497, 10, "nuclear_site"),
        (35.5, 51.0, 10, "embargoed_place"),
        (46.12, 33.60, 5000, "embargoed_place"),
        (52.5200, 13.4050, 5000, None),
    ],
)
def test_knows_restricted_places(latitude: float, longitude: float, within_m: float, code: str | None) -> None:
    assert places.restricted_near(latitude, longitude, within_m) == code


@pytest.mark.parametrize(
    ("latitude", "longitude", "within_m"), [(float("nan"), 0, 50), (0, float("inf"), 50), (91, 0, 50), (0, 0, -1), (0, 0, float("inf"))]
)
def test_a_circle_that_is_none_is_refused(latitude: float, longitude: float, within_m: float) -> None:
    assert places.restricted_near(latitude, longitude, within_m) == "place_malformed"


def _layer(path: Path, settings: Settings, geometry: dict[str, object]) -> None:
    feature = {"type": "Feature", "properties": {"code": "own", "buffer_m": 100}, "geometry": geometry}
    path.write_text(json.dumps({"type": "FeatureCollection", "version": "1", "features": [feature]}))
    settings.RESTRICTED_PLACES = [str(path)]


@given(
    bearing=st.floats(0, 360),
    beyond_m=st.sampled_from([-5.0, 5.0]),
    place=st.sampled_from([(0.0, 0.0), (52.5, 13.4), (60.0, 180.0), (-89.999, 12.0)]),
)
def test_the_edge_of_circle_and_buffer_is_exact(bearing: float, beyond_m: float, place: tuple[float, float]) -> None:
    # A point with a buffer of 100 m against a circle of 50 m: 145 m apart touches, 155 m does not.
    layer = places._Layer(
        places=(places._Restricted(code="own", buffer_m=100, geometry=shapely.Point(place[1], place[0])),),
        middles=sphere.unit_vectors(np.array([[place[1], place[0]]])),
        reaches_m=np.array([100.0]),
    )
    latitude, longitude = sphere.step(*place, 150.0 + beyond_m, bearing)
    assert (places._touched(layer, latitude, longitude, 50.0) == "own") == (beyond_m < 0)


def test_polygon_across_the_antimeridian(tmp_path: Path, settings: Settings) -> None:
    ring = [[179.99, -17.0], [180.01, -17.0], [180.01, -16.98], [179.99, -16.98], [179.99, -17.0]]
    _layer(tmp_path / "own.geojson", settings, {"type": "Polygon", "coordinates": [ring]})
    assert places.restricted_near(-16.99, 179.995, 10) == "own"
    assert places.restricted_near(-16.99, -179.995, 10) == "own"
    assert places.restricted_near(-16.99, -179.98, 10) is None
    assert places.restricted_near(-16.99, -179.98, 1200) == "own"


def test_polygon_around_the_pole(tmp_path: Path, settings: Settings) -> None:
    ring = [[0, 89.9], [90, 89.9], [180, 89.9], [270, 89.9], [0, 89.9]]
    _layer(tmp_path / "own.geojson", settings, {"type": "Polygon", "coordinates": [ring]})
    assert places.restricted_near(90.0, 0.0, 10) == "own"
    assert places.restricted_near(89.99, 45.0, 10) == "own"
    assert places.restricted_near(89.7, 0.0, 10) is None


def test_inside_a_large_polygon_far_from_its_edges(tmp_path: Path, settings: Settings) -> None:
    ring = [[10, 40], [11, 40], [11, 41], [10, 41], [10, 40]]
    _layer(tmp_path / "own.geojson", settings, {"type": "Polygon", "coordinates": [ring]})
    assert places.restricted_near(40.5, 10.5, 10) == "own"


def _one(properties: dict[str, object], geometry: object) -> str:
    return json.dumps({"version": "1", "features": [{"properties": properties, "geometry": geometry}]})


POINT = {"type": "Point", "coordinates": [0, 0]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"features": 1}',
        '{"version": "1", "features": [{"type": "Feature"}]}',
        _one({"code": "x", "buffer_m": -1}, POINT),
        _one({"code": "x", "buffer_m": "wide"}, POINT),
        _one({"buffer_m": 1}, POINT),
        _one({"code": "x", "buffer_m": 1}, None),
        _one({"code": "x", "buffer_m": 1}, {"type": "Polygon", "coordinates": []}),
        _one({"code": "x", "buffer_m": 1}, {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        _one({"code": "x", "buffer_m": 1}, {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}),
    ],
)
def test_a_broken_layer_stops_publishing(text: str, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "own.geojson"
    path.write_text(text)
    settings.RESTRICTED_PLACES = [str(path)]
    with pytest.raises(places.MalformedLayer, match=r"own\.geojson"):
        places.restricted_near(0.0, 0.0, 10)


def test_a_missing_layer_stops_publishing(tmp_path: Path, settings: Settings) -> None:
    settings.RESTRICTED_PLACES = [str(tmp_path / "absent.geojson")]
    with pytest.raises(places.MalformedLayer):
        places.restricted_near(0.0, 0.0, 10)
