"""Plots of research bounties as SVG that needs no script: figures in, markup, words and rows out. Reads no database and no clock."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from market.web import axes

# What is drawn; the rows have everything.
MAX_REFUSED_DOTS = 300
MAX_CURVE_POINTS = 720
_MAX_PAY_LABELS = 8
# A bound this many times the largest ratio away is drawn there: how far beyond does not matter, and the ratios must be told apart.
_EDGE = 1.5
_OUT_OF_REACH = 1e6
# Width of a letter in the view box's units, generously.
_LETTER = 7.0

Outcome = Literal["ACCEPTED", "WITHDRAWN", "REJECTED", "INCONCLUSIVE"]
Whose = Literal["CANDIDATE", "TIP"]


@dataclasses.dataclass(frozen=True, slots=True)
class Plot:
    """A picture, the same in words, and its figures as rows under a header."""

    svg: SafeString
    words: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """A judged candidate: its gain over the tip it was judged against, in the metric's unit, and what it was paid ("" for nothing)."""

    name: str
    outcome: Outcome
    gain: float
    pay: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """The training losses that one run printed, as (step, loss)."""

    name: str
    whose: Whose
    points: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Where a sequential test stands after so many pairs: its log-likelihood ratio between the bounds to accept and to reject."""

    pairs: int
    ratio: float
    upper: float
    lower: float


def frontier(judged: Sequence[Judged], *, noise_sd: float, unit: str, key: str, about: str = "") -> Plot:
    """Draw the gain of the accepted chain over the base, candidate by candidate in the order of their verdicts.

    The line rises where a candidate was accepted and stands; refused and withdrawn ones are marks where they would have led. The
    band is one standard deviation of a paired difference (the spec's `paired_sd`) to either side.

    Raises:
        market.web.axes.NotPlottable
    """
    axes.check([noise_sd, *(one.gain for one in judged)])
    totals, marks = _chain(judged)
    frame = axes.Frame.over(
        range(len(judged) + 1), [*marks, *(total + sign * noise_sd for total in totals for sign in (-1, 1))], starts_at=0
    )
    refused = [number for number, one in enumerate(judged, 1) if one.outcome in ("REJECTED", "INCONCLUSIVE")][-MAX_REFUSED_DOTS:]
    band = [*_stairs([total + noise_sd for total in totals]), *reversed(_stairs([total - noise_sd for total in totals]))]
    parts = [
        format_html('<path class="band" d="{}Z"/>', frame.path(band)) if judged else SafeString(),
        _each('<circle class="refused" cx="{}" cy="{}" r="2.6"/>', (frame.at(number, marks[number - 1]) for number in refused)),
        format_html('<path class="line accepted" d="{}"/>', frame.path(_stairs(totals))) if judged else SafeString(),
        _crosses(frame, [(n, marks[n - 1]) for n, one in enumerate(judged, 1) if one.outcome == "WITHDRAWN"]),
        *(
            format_html(
                '<circle class="dot accepted" cx="{}" cy="{}" r="3.6"><title>{}</title></circle>',
                *frame.at(n, totals[n]),
                axes.clean(one.name),
            )
            for n, one in enumerate(judged, 1)
            if one.outcome == "ACCEPTED"
        ),
        _pay_labels(frame, judged, totals),
    ]
    words = _frontier_words(judged, totals, noise_sd=noise_sd, unit=unit)
    svg = frame.svg(
        parts,
        key=key,
        title=f"Verified progress{f' of {about}' if about else ''}",
        words=words,
        across="candidates judged",
        up=f"gain, {unit}",
    )
    rows = [(n, one.name, one.outcome, one.gain, totals[n], one.pay) for n, one in enumerate(judged, 1)]
    return Plot(svg, words, ("number", "candidate", "outcome", "gain", "gain_of_the_chain", "pay"), tuple(rows))


def curves(lines: Sequence[Curve], *, key: str) -> Plot:
    """Draw loss by step of a candidate's runs (solid) and of the tip's (dashed), thinned to `MAX_CURVE_POINTS` in all.

    Raises:
        market.web.axes.NotPlottable
    """
    drawn = [line for line in lines if line.points]
    axes.check(figure for line in drawn for point in line.points for figure in point)
    frame = axes.Frame.over(
        [step for line in drawn for step, _ in line.points], [loss for line in drawn for _, loss in line.points], starts_at=None
    )
    most = max(2, MAX_CURVE_POINTS // max(1, len(drawn)))
    # The candidate's on top.
    parts = [
        format_html('<path class="line {}" d="{}"/>', line.whose.lower(), frame.path(_thinned(line.points, most)))
        for line in sorted(drawn, key=lambda line: line.whose == "CANDIDATE")
    ]
    parts += [_each('<circle class="dot" cx="{}" cy="{}" r="3"/>', (frame.at(*line.points[0]) for line in drawn if len(line.points) == 1))]
    words = _curves_words(drawn)
    svg = frame.svg(parts, key=key, title="Loss while training, as the runs printed it", words=words, across="step", up="loss")
    rows = [(line.name, line.whose, step, loss) for line in drawn for step, loss in line.points]
    return Plot(svg, words, ("run", "whose", "step", "loss"), tuple(rows))


def gains(pairs: Sequence[float], *, reported: float | None, wanted: float, pair_sd: float, unit: str, key: str) -> Plot:
    """Draw the gain that each pair of replays measured beside the gain that the candidate's maker reported.

    The band is one standard deviation of a pair to either side of their mean; ``wanted`` is the spec's `min_effect`.

    Raises:
        market.web.axes.NotPlottable
    """
    known = [] if reported is None else [reported]
    axes.check([*pairs, *known, wanted, pair_sd])
    mean = sum(pairs) / len(pairs) if pairs else 0.0
    band = [mean - pair_sd, mean + pair_sd] if pairs else []
    frame = axes.Frame.over([0, len(pairs) + 1], [*pairs, *known, *band, wanted, 0.0], starts_at=None)
    numbered = list(enumerate(pairs, 1))
    parts = [
        frame.strip(*band) if band else SafeString(),
        frame.level(0.0, "zero", ""),
        frame.level(wanted, "wanted", "wanted"),
        frame.level(reported, "reported", "reported", is_at_start=True) if reported is not None else SafeString(),
        frame.level(mean, "mean", "") if pairs else SafeString(),
        _each('<circle class="dot candidate" cx="{}" cy="{}" r="4"/>', (frame.at(n, gain) for n, gain in numbered)),
    ]
    words = _gains_words(pairs, mean, reported=reported, wanted=wanted, pair_sd=pair_sd, unit=unit)
    svg = frame.svg(parts, key=key, title="Reported gain against replayed gain", words=words, across="pair of replays", up=f"gain, {unit}")
    return Plot(svg, words, ("pair", "gain", "reported_gain", "wanted_gain"), tuple((n, gain, reported, wanted) for n, gain in numbered))


def path_of_test(path: Sequence[Standing], *, key: str) -> Plot:
    """Draw a sequential test: the log-likelihood ratio after each pair, and the bounds at which it accepts and rejects.

    A bound far beyond all ratios is drawn at the edge.

    Raises:
        market.web.axes.NotPlottable
    """
    axes.check(figure for one in path for figure in (one.ratio, one.upper, one.lower))
    edge = _EDGE * max([1.0, *(abs(one.ratio) for one in path), *(min(abs(one.upper), abs(one.lower)) for one in path)])
    bounds = [
        (name, [min(max(level, -edge), edge) for level in levels])
        for name, levels in (("accept", [one.upper for one in path]), ("reject", [one.lower for one in path]))
        if path
    ]
    levels = [level for _, found in bounds for level in found]
    frame = axes.Frame.over([0, path[-1].pairs if path else 1], [0.0, *(one.ratio for one in path), *levels], starts_at=0)
    pairs = [0.0, *(float(one.pairs) for one in path)]
    parts = [
        format_html('<path class="bound {}" d="{}"/>', name, frame.path(zip(pairs, [found[0], *found], strict=True)))
        for name, found in bounds
    ]
    if path:
        parts.append(
            format_html('<path class="line candidate" d="{}"/>', frame.path(zip(pairs, [0.0, *(one.ratio for one in path)], strict=True)))
        )
    parts.append(_each('<circle class="dot candidate" cx="{}" cy="{}" r="4"/>', (frame.at(one.pairs, one.ratio) for one in path)))
    words = _path_words(path)
    svg = frame.svg(parts, key=key, title="The test, pair by pair", words=words, across="pairs of replays", up="log-likelihood ratio")
    header = ("pairs", "log_likelihood_ratio", "accept_at", "reject_at")
    return Plot(svg, words, header, tuple((one.pairs, one.ratio, one.upper, one.lower) for one in path))


def _each(markup: str, points: Iterable[tuple[str, str]]) -> SafeString:
    return format_html_join("", markup, points)


def _crosses(frame: axes.Frame, points: Iterable[tuple[float, float]]) -> SafeString:
    placed = [frame.at(*point) for point in points]
    return format_html_join("", '<path class="cross" d="M{} {}m-3.5 -3.5l7 7m0 -7l-7 7"/>', placed)


def _chain(judged: Sequence[Judged]) -> tuple[list[float], list[float]]:
    """Return the chain's total gain from 0 on, after each candidate, and where each candidate itself would have led."""
    totals, marks = [0.0], []
    for one in judged:
        marks.append(totals[-1] + one.gain)
        totals.append(marks[-1] if one.outcome == "ACCEPTED" else totals[-1])
    axes.check(totals)
    return totals, marks


def _stairs(levels: Sequence[float]) -> list[tuple[float, float]]:
    """Return the corners of a line that changes its level at each whole number."""
    points = [(0.0, levels[0])]
    for place, (before, after) in enumerate(itertools.pairwise(levels), 1):
        if after != before:
            points += [(float(place), before), (float(place), after)]
    return [*points, (float(len(levels) - 1), levels[-1])]


def _thinned(points: Sequence[tuple[int, float]], most: int) -> list[tuple[float, float]]:
    """Return at most so many points, evenly picked, the first and the last among them."""
    if len(points) <= most:
        return [(float(x), y) for x, y in points]
    picked = sorted({round(place * (len(points) - 1) / (most - 1)) for place in range(most)})
    return [(float(points[place][0]), points[place][1]) for place in picked]


def _pay_labels(frame: axes.Frame, judged: Sequence[Judged], totals: Sequence[float]) -> SafeString:
    """Write what was paid above the newest accepted steps, as far as they don't lie on each other."""
    taken: list[tuple[float, float, float]] = []
    labels: list[tuple[str, str, str]] = []
    for place in range(len(judged), 0, -1):
        one = judged[place - 1]
        if one.outcome != "ACCEPTED" or not one.pay or len(labels) == _MAX_PAY_LABELS:
            continue
        words = axes.clean(one.pay, 16)
        half = len(words) * _LETTER / 2
        across, down = (float(each) for each in frame.at(place, totals[place]))
        across, down = min(max(across, axes.LEFT + half), axes.WIDTH - axes.RIGHT - half), max(down - 7, axes.TOP)
        if all(abs(across - x) > half + other or abs(down - y) > 13 for x, y, other in taken):
            taken.append((across, down, half))
            labels.append((f"{across:.1f}", f"{down:.1f}", words))
    return format_html_join("", '<text class="pay-label" x="{}" y="{}" text-anchor="middle">{}</text>', labels)


def _frontier_words(judged: Sequence[Judged], totals: Sequence[float], *, noise_sd: float, unit: str) -> str:
    if not judged:
        return "No candidate has been judged by replays yet."
    counts = {outcome: sum(one.outcome == outcome for one in judged) for outcome in ("ACCEPTED", "REJECTED", "INCONCLUSIVE", "WITHDRAWN")}
    withdrawn = f", {counts['WITHDRAWN']} withdrawn later" if counts["WITHDRAWN"] else ""
    return (
        f"{_count(len(judged), 'candidate')} judged by replays: {counts['ACCEPTED']} accepted, {counts['REJECTED']} rejected, "
        f"{counts['INCONCLUSIVE']} inconclusive{withdrawn}. The chain gains {axes.number(totals[-1])} {unit} over the base. "
        f"The band is the noise of one pair of replays, {axes.number(noise_sd)} {unit} to either side."
    )


def _curves_words(lines: Sequence[Curve]) -> str:
    if not lines:
        return "No run has printed losses yet."
    parts = []
    for whose, name in (("CANDIDATE", "candidate"), ("TIP", "tip")):
        ends = [line.points[-1] for line in lines if line.whose == whose]
        if ends:
            low, high = min(loss for _, loss in ends), max(loss for _, loss in ends)
            where = f"at {axes.number(low)}" if low == high else f"between {axes.number(low)} and {axes.number(high)}"
            parts.append(f"{_count(len(ends), 'run')} of the {name} ended {where}")
    return f"{'; '.join(parts)}. What the runs printed is not judged: the score comes from the weights."


def _gains_words(pairs: Sequence[float], mean: float, *, reported: float | None, wanted: float, pair_sd: float, unit: str) -> str:
    said = f"Its maker reported a gain of {axes.number(reported)} {unit}." if reported is not None else "Its maker reported no gain."
    asked = f"A gain of {axes.number(wanted)} is wanted."
    if not pairs:
        return f"{said} No pair of replays has been judged yet. {asked}"
    return (
        f"{said} {_count(len(pairs), 'pair')} of replays measured {axes.number(mean)} on average, from {axes.number(min(pairs))} to "
        f"{axes.number(max(pairs))}. {asked} One pair differs from the next by {axes.number(pair_sd)} (one standard deviation)."
    )


def _path_words(path: Sequence[Standing]) -> str:
    if not path:
        return "No pair of replays has been judged yet."
    steps = ", then ".join(f"{axes.number(one.ratio)}" for one in path[:12])
    more = f", and so on to {axes.number(path[-1].ratio)}" if len(path) > 12 else ""
    last = path[-1]
    if last.ratio >= last.upper:
        end = "It reached the bound to accept."
    elif last.ratio <= last.lower:
        end = "It reached the bound to reject."
    else:
        end = "It lies between the bounds."
    accepts_at = axes.number(last.upper) if last.upper < _OUT_OF_REACH else "more than any gain can give yet"
    return (
        f"After {_count(last.pairs, 'pair')} the log-likelihood ratio went {steps}{more}. "
        f"It accepts at {accepts_at} and rejects at {axes.number(last.lower)}. {end}"
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
