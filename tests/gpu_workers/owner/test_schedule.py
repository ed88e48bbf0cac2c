"""A weekly schedule ..."""

import datetime

import hypothesis
import pytest
from hypothesis import strategies as st

from gpu_workers.owner import schedule

MONDAY = datetime.date(2030, 1, 7)


def at(day: int, hour: int, minute: int = 0) -> datetime.datetime:
    """Return a moment of the week that begins on `MONDAY`."""
    return datetime.datetime.combine(MONDAY + datetime.timedelta(days=day), datetime.time(hour, minute), tzinfo=datetime.UTC)


NIGHT = schedule.window(["mon", "tue", "wed", "thu", "fri"], "22:00", "07:00")
WEEKEND = schedule.window(["sat", "sun"], "00:00", "00:00")


@pytest.mark.parametrize(
    ("moment", "closes"),
    [
        (at(0, 21, 59), None),
        (at(0, 22), at(1, 7)),
        (at(1, 3), at(1, 7)),
        (at(1, 7), None),
        # Friday's night goes on into Saturday, though Saturday is not one of its days.
        (at(5, 3), at(5, 7)),
        (at(5, 8), None),
        # Monday's morning belongs to Sunday, which is not one of its days.
        (at(0, 3), None),
    ],
)
def test_a_window_goes_over_midnight(moment: datetime.datetime, closes: datetime.datetime | None) -> None:
    assert schedule.closes_at([NIGHT], moment) == closes


def test_a_window_that_ends_where_it_begins_lasts_a_day() -> None:
    assert schedule.closes_at([WEEKEND], at(6, 23, 59)) == at(7, 0)
    assert schedule.closes_at([WEEKEND], at(4, 23, 59)) is None


def test_says_when_it_opens() -> None:
    assert schedule.opens_at([NIGHT], at(0, 12)) == at(0, 22)
    assert schedule.opens_at([NIGHT], at(5, 12)) == at(7, 22)
    assert schedule.opens_at([NIGHT, WEEKEND], at(4, 23)) == at(5, 0)
    assert schedule.opens_at([], at(0, 0)) is None


@pytest.mark.parametrize(("days", "start", "end"), [(["monday"], "22:00", "07:00"), ([], "22:00", "07:00"), (["mon"], "24:00", "07:00")])
def test_refuses_what_is_no_window(days: list[str], start: str, end: str) -> None:
    with pytest.raises(schedule.MalformedWindow, match=r"days must be|is not a time of day"):
        schedule.window(days, start, end)


@hypothesis.given(
    days=st.sets(st.sampled_from(schedule.DAYS), min_size=1),
    start=st.times().map(lambda moment: f"{moment:%H:%M}"),
    end=st.times().map(lambda moment: f"{moment:%H:%M}"),
    minutes=st.integers(0, 14 * 24 * 60),
)
def test_is_open_until_it_closes_and_closed_until_it_opens(days: set[str], start: str, end: str, minutes: int) -> None:
    windows, now = [schedule.window(sorted(days), start, end)], at(0, 0) + datetime.timedelta(minutes=minutes)
    closes, instant = schedule.closes_at(windows, now), datetime.timedelta(microseconds=1)
    if closes is None:
        opens = schedule.opens_at(windows, now)
        assert opens is not None
        assert schedule.closes_at(windows, opens - instant) is None
        assert schedule.closes_at(windows, opens) is not None
    else:
        assert schedule.closes_at(windows, closes - instant) is not None
