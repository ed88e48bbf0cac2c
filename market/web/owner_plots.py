"""Plots for GPU owners as SVG that needs no script: where a run and its repetition part, and what each day brought. Reads no database."""

import dataclasses
import datetime
from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

from market.common.money import Money
from market.web import axes, plots
from market.web.templatetags import pages

Points = Sequence[tuple[int, float]]
# Of a day's width, the part that its bar takes.
_BAR = 0.7


@dataclasses.dataclass(frozen=True, slots=True)
class Day:
    """What an owner's runs of one day brought: payable or paid out, still to come, and lost."""

    date: datetime.date
    earned: Money
    pending: Money
    lost: Money


def parting(reported: Points, trusted: Points, *, differs_from: tuple[int, int] | None, key: str) -> plots.Plot:
    """Draw the losses that an owner's run printed (solid) beside those of the pool's (dashed), each as (step, loss).

    ``differs_from`` is the first checkpoint whose weights are other ones, and its step: a dotted line stands there.

    Raises:
        market.web.axes.NotPlottable
    """
    both = [*reported, *trusted]
    axes.check(loss for _, loss in both)
    steps = [step for step, _ in both] + ([differs_from[1]] if differs_from else [])
    frame = axes.Frame.over(steps, [loss for _, loss in both], starts_at=0)
    parts = [
        format_html('<path class="line {}" d="{}"/>', name, frame.path(points))
        for name, points in (("tip", trusted), ("candidate", reported))
        if points
    ]
    if differs_from:
        edge = [(float(differs_from[1]), frame.low), (float(differs_from[1]), frame.high)]
        parts.append(format_html('<path class="bound reject" d="{}"/>', frame.path(edge)))
    words = _parting_words(reported, trusted, differs_from)
    svg = frame.svg(parts, key=key, title="Your run and the trusted pool's", words=words, across="step", up="loss")
    theirs = dict(trusted)
    mine = dict(reported)
    rows = [(step, mine.get(step), theirs.get(step)) for step in sorted({*mine, *theirs})]
    return plots.Plot(svg, words, ("step", "your_loss", "pool_loss"), tuple(rows))


def days(found: Sequence[Day], *, key: str) -> plots.Plot:
    """Draw a bar for each day, oldest first: what was earned and above it what is pending; what was lost hangs below. One currency."""
    count = len(found)
    tops = [_height(day.earned) + _height(day.pending) for day in found]
    frame = axes.Frame.over([-count, 0.5], [0.0, *tops, *(-_height(day.lost) for day in found)], starts_at=None)
    parts: list[SafeString] = []
    for place, day in enumerate(found):
        across = float(place - count + 1)
        earned = _height(day.earned)
        parts += _bar(frame, "dot", across, 0.0, earned)
        parts += _bar(frame, "band", across, earned, earned + _height(day.pending))
        parts += _bar(frame, "bound reject", across, -_height(day.lost), 0.0)
    parts.append(frame.level(0.0, "zero", ""))
    words = _days_words(found)
    svg = frame.svg(
        parts, key=key, title=f"Each of the last {count} days", words=words, across="days, 0 is today", up=found[-1].earned.currency
    )
    rows = [
        (day.date.isoformat(), day.earned.currency, *(each.decimal_text() for each in (day.earned, day.pending, day.lost))) for day in found
    ]
    return plots.Plot(svg, words, ("day", "currency", "earned", "pending", "lost"), tuple(rows))


def _height(amount: Money) -> float:
    # For the eye alone; the rows have the amounts.
    return float(amount.decimal_text())


def _bar(frame: axes.Frame, name: str, across: float, low: float, high: float) -> list[SafeString]:
    if low == high:
        return []
    left, right = across - _BAR / 2, across + _BAR / 2
    return [format_html('<path class="{}" d="{}Z"/>', name, frame.path([(left, low), (left, high), (right, high), (right, low)]))]


def _parting_words(reported: Points, trusted: Points, differs_from: tuple[int, int] | None) -> str:
    if not reported or not trusted:
        return "One of the two printed no losses, so there are no curves to compare."
    ends = f"Your run ended at a loss of {axes.number(reported[-1][1], digits=6)}, the pool's at {axes.number(trusted[-1][1], digits=6)}."
    theirs = dict(trusted)
    parted = next((step for step, loss in reported if step in theirs and theirs[step] != loss), None)
    curves = "The printed losses are the same throughout." if parted is None else f"The printed losses differ from step {parted} on."
    if differs_from is None:
        return f"{ends} {curves}"
    checkpoint, step = differs_from
    before = f" Up to checkpoint {checkpoint - 1} they are the same, bit for bit." if checkpoint else ""
    return f"{ends} {curves} The weights differ from checkpoint {checkpoint} (step {step}) on.{before}"


def _days_words(found: Sequence[Day]) -> str:
    busy = [day for day in found if day.earned.amount_minor or day.pending.amount_minor or day.lost.amount_minor]
    if not busy:
        return f"Nothing in the last {len(found)} days."
    best = max(busy, key=lambda day: day.earned.amount_minor + day.pending.amount_minor)
    most = Money(best.earned.amount_minor + best.pending.amount_minor, best.earned.currency)
    count = "1 day" if len(busy) == 1 else f"{len(busy)} days"
    return f"{count} of the last {len(found)} brought something; the most was {pages.money(most)} on {best.date.isoformat()}."
