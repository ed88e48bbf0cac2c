"""Weekly windows of local time in which the machine may work; a window may go over midnight."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = datetime.timedelta(days=1)


class MalformedWindow(ValueError):
    """A window of the schedule can't be read; the message says what is wrong and what to write."""


@dataclass(frozen=True)
class Window:
    """Open on each of `days` (0 is Monday) from `start` to `end` of the wall clock; with `end <= start` until then on the next day."""

    days: frozenset[int]
    start: datetime.time
    end: datetime.time

    def spans(self, day: datetime.date, zone: datetime.tzinfo | None) -> tuple[datetime.datetime, datetime.datetime] | None:
        """Return when the window that begins on `day` opens and closes, or None if there is none."""
        if day.weekday() not in self.days:
            return None
        last = day + _DAY if self.end <= self.start else day
        return _local(day, self.start, zone), _local(last, self.end, zone)


def window(days: Sequence[str], start: str, end: str) -> Window:
    """Make a window from words of the limits file.

    Raises:
        MalformedWindow: a day that is none of `DAYS`, or a time that is not "HH:MM".
    """
    unknown = [day for day in days if day not in DAYS]
    if unknown or not days:
        raise MalformedWindow(
            f"days must be some of {', '.join(DAYS)}; {unknown[0] if unknown else 'none'} is not. Leave it out for every day."
        )
    return Window(frozenset(DAYS.index(day) for day in days), _time(start), _time(end))


def closes_at(windows: Sequence[Window], now: datetime.datetime) -> datetime.datetime | None:
    """Return when the latest window that is open at `now` closes, or None if all are closed."""
    ends = [span[1] for span in _around(windows, now) if span[0] <= now < span[1]]
    return max(ends, default=None)


def opens_at(windows: Sequence[Window], now: datetime.datetime) -> datetime.datetime | None:
    """Return when the next window opens after `now`; None without windows."""
    return min((span[0] for span in _around(windows, now) if span[0] > now), default=None)


def _around(windows: Sequence[Window], now: datetime.datetime) -> list[tuple[datetime.datetime, datetime.datetime]]:
    # From yesterday, whose window may go over midnight, to the same weekday of the next week.
    days = [now.date() + offset * _DAY for offset in range(-1, 9)]
    return [span for each in windows for day in days if (span := each.spans(day, now.tzinfo)) is not None]


def _local(day: datetime.date, moment: datetime.time, zone: datetime.tzinfo | None) -> datetime.datetime:
    return datetime.datetime.combine(day, moment, tzinfo=zone)


def _time(text: str) -> datetime.time:
    match = _TIME.fullmatch(text)
    if match is None:
        raise MalformedWindow(f'{text[:20]!r} is not a time of day; write it as "22:00".')
    return datetime.time(int(match[1]), int(match[2]))
