"""Axes of plots: which figure lies where in the view box, and how figures and strangers' words are written on it."""

import dataclasses
import math
import unicodedata
from collections.abc import Iterable, Sequence

from django.utils import formats
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# The view box. About as wide as a card on a phone, so that text is drawn there at its own size; wide screens write it smaller.
WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 24, 36
# Larger figures are no measurement, and differences of two of them would leave the range of floats.
MOST = 1e30
MAX_TEXT = 80
_TICKS = 4
_MINUS = "\N{MINUS SIGN}"


class NotPlottable(ValueError):
    """A figure is not finite, or beyond 1e30 in size."""


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """The axes: which figures lie where in the view box."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def over(cls, across: Iterable[float], up: Iterable[float], *, starts_at: float | None) -> "Frame":
        """Return axes that hold all figures; ``starts_at`` is where the horizontal one begins, if not at the first figure."""
        xs, ys = [*across], [*up]
        left, right = _span(xs if starts_at is None else [starts_at, *xs], pad=0.0)
        low, high = _span(ys, pad=0.06)
        return cls(left, right, low, high)

    def at(self, x: float, y: float) -> tuple[str, str]:
        """Return where a figure lies, written for SVG: never in a locale's way."""
        across = LEFT + (x - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)
        down = TOP + (self.high - y) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f}", f"{down:.1f}"

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """Return the data of a path through points."""
        return "M" + "L".join(" ".join(self.at(x, y)) for x, y in points)

    def strip(self, low: float, high: float) -> SafeString:
        """Return a band over the whole width."""
        corners = [(self.left, low), (self.left, high), (self.right, high), (self.right, low)]
        return format_html('<path class="band" d="{}Z"/>', self.path(corners))

    def level(self, y: float, name: str, words: str, *, is_at_start: bool = False) -> SafeString:
        """Return a line over the whole width, with its name on it."""
        line = format_html('<path class="level {}" d="{}"/>', name, self.path([(self.left, y), (self.right, y)]))
        return format_html("{}{}", line, self.note(y, words, is_at_start=is_at_start)) if words else line

    def note(self, y: float, words: str, *, is_at_start: bool = False) -> SafeString:
        """Return words above a level, below it where there is no room above."""
        down = float(self.at(self.left, y)[1])
        baseline = down - 4 if down - 4 - 12 >= TOP else down + 13
        across, anchor = (LEFT + 3, "start") if is_at_start else (WIDTH - RIGHT, "end")
        return format_html('<text x="{}" y="{}" text-anchor="{}">{}</text>', across, f"{baseline:.1f}", anchor, clean(words, 24))

    def svg(self, parts: Iterable[SafeString], *, key: str, title: str, words: str, across: str, up: str) -> SafeString:
        """Return the picture: axes with their ticks, then its parts."""
        return format_html(
            '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-desc">'
            '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}{}'
            '<text class="axis" x="2" y="12">{}</text><text class="axis" x="{}" y="{}" text-anchor="end">{}</text></svg>',
            *(WIDTH, HEIGHT, key, key, key, clean(title, 2 * MAX_TEXT), key, clean(words, 1000)),
            self._grid(),
            format_html_join("", "{}", ((part,) for part in parts)),
            *(clean(up, 40), WIDTH - RIGHT, HEIGHT - 4, clean(across, 40)),
        )

    def _grid(self) -> SafeString:
        lines = [
            format_html(
                '<path class="grid" d="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
                *(self.path([(self.left, tick), (self.right, tick)]), LEFT - 5, f"{float(self.at(self.left, tick)[1]) + 4:.1f}", words),
            )
            for tick, words in _ticks(self.low, self.high)
        ]
        steps = [
            format_html('<text x="{}" y="{}" text-anchor="middle">{}</text>', self.at(tick, self.low)[0], HEIGHT - BOTTOM + 14, words)
            for tick, words in _ticks(self.left, self.right, is_whole=True)
        ]
        return format_html_join("", "{}", ((part,) for part in [*lines, *steps]))


def number(value: float, *, digits: int = 3) -> str:
    """Write a figure with at most so many significant digits, as the reader's language writes numbers; very small ones as 1.2e-7.

    Raises:
        NotPlottable
    """
    check([value])
    if value == 0:
        return formats.number_format(0)
    places = digits - 1 - math.floor(math.log10(abs(value)))
    _, _, decimals = f"{value:.{max(0, places)}f}".rstrip("0").partition(".")
    return _written(value, min(places, len(decimals)), digits)


def clean(text: str, most: int = MAX_TEXT) -> str:
    """Return a stranger's text as one short line without signs that XML can't hold or that turn the direction of what follows."""
    kept = "".join(" " if sign.isspace() else sign for sign in text[: 4 * most] if sign.isspace() or _is_plain(sign))
    line = " ".join(kept.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def check(figures: Iterable[float]) -> None:
    """Refuse what has no place in a plot.

    Raises:
        NotPlottable
    """
    if not all(math.isfinite(figure) and abs(figure) <= MOST for figure in figures):
        raise NotPlottable("A figure of a plot must be finite and at most 1e30 in size.")


def _span(figures: Sequence[float], *, pad: float) -> tuple[float, float]:
    low, high = (min(figures), max(figures)) if figures else (0.0, 1.0)
    # Equal figures, or nearly so, still need ticks that differ in few digits.
    least = max(1e-9, 1e-4 * max(abs(low), abs(high)))
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    room = (high - low) * pad
    return low - room, high + room


def _ticks(low: float, high: float, *, is_whole: bool = False) -> list[tuple[float, str]]:
    """Return a few round figures between two, each as it is written."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough * 0.999)
    if is_whole:
        step = max(1.0, step)
    places = -math.floor(math.log10(step) + 1e-9)
    return [(each * step, _written(each * step, places, 3)) for each in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _written(value: float, places: int, digits: int) -> str:
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        words = f"{formats.number_format(float(mantissa), use_l10n=True)}e{int(exponent)}"
    else:
        # Adding zero makes a negative zero a plain one.
        words = formats.number_format(round(value, max(0, places)) + 0.0, decimal_pos=min(6, max(0, places)), use_l10n=True)
    return words.replace("-", _MINUS)


def _is_plain(sign: str) -> bool:
    # No control, format (these turn directions), surrogate, private or unassigned signs; XML forbids some of each.
    return unicodedata.category(sign)[0] != "C"
