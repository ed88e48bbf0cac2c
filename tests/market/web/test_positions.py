"""Typed places: the ways people write them, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.web import positions


@pytest.mark.parametrize(
    "text",
    [
        "52.52, 13.405",
        "52.52 13.405",
        "52.52,13.405",
        "52.52;13.405",
        "52.52 N 13.405 E",
        "52.52° N, 13.405° E",
        "geo:52.52,13.405",
        "geo:52.52,13.405;u=35",
        "https://maps.example/@52.52,13.405,15z",
        "https://maps.example/?mlat=1&q=52.52,13.405",
        "\u06f5\u06f2\u066b\u06f5\u06f2\u060c \u06f1\u06f3\u066b\u06f4\u06f0\u06f5",
        "\u0665\u0662\u066b\u0665\u0662\u060c \u0661\u0663\u066b\u0664\u0660\u0665",
        "\uff15\uff12.\uff15\uff12, \uff11\uff13.\uff14\uff10\uff15",
    ],
)
def test_reads_how_people_write_places(text: str) -> None:
    assert positions.read(text) == positions.Position(52.52, 13.405)


def test_reads_south_and_west() -> None:
    assert positions.read("33.86 S 151.2 E") == positions.Position(-33.86, 151.2)
    assert positions.read("-33.86, -70.6") == positions.Position(-33.86, -70.6)
    assert positions.read("40.7 N 74 W") == positions.Position(40.7, -74.0)


@pytest.mark.parametrize("text", ["", "Berlin", "52.52", "91, 13", "52, 181", "1e5, 3", "nan, nan", "<script>", "52.52.1, 3", "9" * 500])
def test_refuses_what_is_no_place(text: str) -> None:
    with pytest.raises(positions.NoPlace):
        positions.read(text)


@given(st.text(max_size=600))
def test_answers_any_text(text: str) -> None:
    try:
        position = positions.read(text)
    except positions.NoPlace:
        return
    assert -90 <= position.latitude <= 90
    assert -180 <= position.longitude <= 180


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_reads_what_a_phone_measures(latitude: float, longitude: float) -> None:
    position = positions.read(f"{latitude:.7f}, {longitude:.7f}")
    assert abs(position.latitude - latitude) < 1e-6
    assert abs(position.longitude - longitude) < 1e-6
