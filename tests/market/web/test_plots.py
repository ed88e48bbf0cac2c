"""Plots of research bounties: well-formed, inside their box, safe for strangers' words, the same in words and in rows."""

import html
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from market.web import axes, plots

_FIGURES = st.floats(-1e30, 1e30) | st.floats(-0.1, 0.1)
_OUTCOMES: st.SearchStrategy[plots.Outcome] = st.sampled_from(["ACCEPTED", "WITHDRAWN", "REJECTED", "INCONCLUSIVE"])
_GAINS = st.floats(-1e28, 1e28) | st.floats(-0.1, 0.1)
_JUDGED = st.lists(
    st.builds(plots.Judged, name=st.text(max_size=200), outcome=_OUTCOMES, gain=_GAINS, pay=st.text(max_size=60)), max_size=30
)
_POINTS = st.dictionaries(st.integers(0, 10_000_000), _FIGURES, max_size=20).map(lambda found: tuple(sorted(found.items())))
_WHOSE: st.SearchStrategy[plots.Whose] = st.sampled_from(["CANDIDATE", "TIP"])
_CURVES = st.lists(st.builds(plots.Curve, name=st.text(max_size=50), whose=_WHOSE, points=_POINTS), max_size=8)
_PATHS = st.lists(st.tuples(_FIGURES, _FIGURES, _FIGURES), max_size=32).map(
    lambda rows: [plots.Standing(number, *row) for number, row in enumerate(rows, 1)]
)
HOSTILE = [
    "</title><script>boom()</script>",
    '"><svg onload=boom()>',
    "a\x00b\x1b\ud800\ufffe",
    "&lt;b&gt; ]]> <!--",
    "\u202egnp.exe",
    "x" * 5000,
]


def _frontier(judged: list[plots.Judged], noise_sd: float = 0.002, about: str = "") -> plots.Plot:
    return plots.frontier(judged, noise_sd=noise_sd, unit="bits per byte", key="frontier", about=about)


def _gains(pairs: list[float], reported: float | None = None) -> plots.Plot:
    return plots.gains(pairs, reported=reported, wanted=0.01, pair_sd=0.002, unit="bits per byte", key="gains")


def _curves(lines: list[plots.Curve]) -> plots.Plot:
    return plots.curves(lines, key="curves")


def _path(path: list[plots.Standing]) -> plots.Plot:
    return plots.path_of_test(path, key="test")


def _parsed(markup: str) -> ET.Element:
    return ET.fromstring(markup)  # noqa: S314  What we wrote ourselves, and without a document type.


def _checked(plot: plots.Plot) -> ET.Element:
    """Parse the picture; everything drawn lies in the view box, its title and description are there, and it runs nothing."""
    root = _parsed(plot.svg)
    assert root.get("viewBox") == f"0 0 {axes.WIDTH} {axes.HEIGHT}"
    named = {each.get("id"): each.text for each in root.iter() if each.get("id")}
    assert [bool(named[name]) for name in (root.get("aria-labelledby") or "").split()] == [True, True]
    for each in root.iter():
        assert each.tag in ("svg", "title", "desc", "path", "circle", "text")
        assert not any(name.startswith("on") or name in ("style", "href") for name in each.attrib)
        for across, down in _points_of(each):
            assert 0 <= across <= axes.WIDTH, ET.tostring(each)
            assert 0 <= down <= axes.HEIGHT, ET.tostring(each)
    assert all(len(row) == len(plot.header) for row in plot.rows)
    return root


def _points_of(each: ET.Element) -> list[tuple[float, float]]:
    if each.tag == "path":
        # What a cross draws is told from its middle.
        return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", each.attrib["d"])]
    names = {"circle": ("cx", "cy"), "text": ("x", "y")}.get(each.tag)
    return [(float(each.attrib[names[0]]), float(each.attrib[names[1]]))] if names else []


@given(judged=_JUDGED, noise_sd=st.floats(0, 1e28), about=st.text(max_size=300))
def test_a_frontier_stays_in_its_box(judged: list[plots.Judged], noise_sd: float, about: str) -> None:
    plot = _frontier(judged, noise_sd, about)
    root = _checked(plot)
    assert len(plot.rows) == len(judged)
    assert len(root.findall("circle[@class='dot accepted']")) == sum(one.outcome == "ACCEPTED" for one in judged)
    assert len(root.findall("path[@class='cross']")) == sum(one.outcome == "WITHDRAWN" for one in judged)


@given(lines=_CURVES)
def test_curves_stay_in_their_box(lines: list[plots.Curve]) -> None:
    plot = _curves(lines)
    _checked(plot)
    assert len(plot.rows) == sum(len(line.points) for line in lines)


@given(pairs=st.lists(_GAINS, max_size=32), reported=st.none() | _GAINS)
def test_gains_stay_in_their_box(pairs: list[float], reported: float | None) -> None:
    plot = _gains(pairs, reported)
    assert len(_checked(plot).findall("circle")) == len(plot.rows) == len(pairs)


@given(path=_PATHS)
def test_the_path_of_a_test_stays_in_its_box(path: list[plots.Standing]) -> None:
    plot = _path(path)
    assert len(_checked(plot).findall("circle")) == len(plot.rows) == len(path)


@pytest.mark.parametrize("words", HOSTILE)
def test_strangers_words_are_text_of_one_short_line(words: str) -> None:
    judged = [plots.Judged(words, "ACCEPTED", 0.01, words)]
    for plot in (_frontier(judged, about=words), _curves([plots.Curve(words, "CANDIDATE", ((0, 1.0), (1, 0.5)))])):
        root = _checked(plot)
        assert all(len(each.text or "") <= 1000 for each in root.iter())
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", plot.svg)
        assert "<script" not in plot.svg
        assert "onload=boom()>" not in plot.svg.replace("onload=boom()&gt;", "")


@pytest.mark.parametrize("figure", [math.inf, -math.inf, math.nan, 1.1e30])
@pytest.mark.parametrize(
    "draw",
    [
        lambda figure: _frontier([plots.Judged("a", "REJECTED", figure)]),
        lambda figure: _frontier([], figure),
        lambda figure: _curves([plots.Curve("a", "TIP", ((0, 1.0), (1, figure)))]),
        lambda figure: _gains([0.1, figure]),
        lambda figure: _gains([0.1], figure),
        lambda figure: _path([plots.Standing(1, figure, 4.0, -4.0)]),
        lambda figure: _path([plots.Standing(1, 1.0, 4.0, figure)]),
        axes.number,
    ],
)
def test_refuses_what_is_not_finite(draw: Callable[[float], object], figure: float) -> None:
    with pytest.raises(axes.NotPlottable):
        draw(figure)


def test_refuses_a_chain_that_adds_up_to_too_much() -> None:
    with pytest.raises(axes.NotPlottable):
        _frontier([plots.Judged("a", "ACCEPTED", 9e29), plots.Judged("b", "ACCEPTED", 9e29)])


def test_says_that_there_is_nothing_yet() -> None:
    assert _frontier([]).words == "No candidate has been judged by replays yet."
    assert _curves([plots.Curve("a", "TIP", ())]).words == "No run has printed losses yet."
    assert _path([]).words == "No pair of replays has been judged yet."
    assert _gains([]).words == "Its maker reported no gain. No pair of replays has been judged yet. A gain of 0.01 is wanted."
    for plot in (_frontier([]), _curves([]), _path([]), _gains([])):
        _checked(plot)
        assert plot.rows == ()


def test_the_frontier_rises_by_accepted_candidates_that_stand() -> None:
    outcomes: list[plots.Outcome] = ["ACCEPTED", "REJECTED", "WITHDRAWN", "ACCEPTED", "INCONCLUSIVE"]
    plot = _frontier(
        [plots.Judged(f"cnd_{n}", outcome, 0.25, "$1.00" if outcome == "ACCEPTED" else "") for n, outcome in enumerate(outcomes)]
    )
    assert plot.header == ("number", "candidate", "outcome", "gain", "gain_of_the_chain", "pay")
    assert [row[4] for row in plot.rows] == [0.25, 0.25, 0.25, 0.5, 0.5]
    assert plot.rows[0] == (1, "cnd_0", "ACCEPTED", 0.25, 0.25, "$1.00")
    assert plot.words == (
        "5 candidates judged by replays: 2 accepted, 1 rejected, 1 inconclusive, 1 withdrawn later. The chain gains 0.5 bits per byte "
        "over the base. The band is the noise of one pair of replays, 0.002 bits per byte to either side."
    )
    labels = [each.text for each in _checked(plot).findall("text[@class='pay-label']")]
    assert labels == ["$1.00", "$1.00"]


def test_labels_that_would_lie_on_each_other_are_left_out() -> None:
    root = _checked(_frontier([plots.Judged("a", "ACCEPTED", 0.0001, "$1,000.00") for _ in range(200)]))
    assert 1 <= len(root.findall("text[@class='pay-label']")) <= 8


def test_many_refused_ones_and_long_curves_are_drawn_thinned_and_told_whole() -> None:
    frontier = _frontier([plots.Judged("a", "REJECTED", 0.001) for _ in range(1000)])
    assert len(_checked(frontier).findall("circle[@class='refused']")) == 300
    assert len(frontier.rows) == 1000
    line = plots.Curve("a", "CANDIDATE", tuple((step, 5.0 / (step + 1)) for step in range(10_000)))
    curve = _curves([line] * 4)
    drawn = [each.attrib["d"].count("L") + 1 for each in _checked(curve).findall("path") if "line" in each.attrib["class"]]
    assert drawn == [180] * 4
    assert len(curve.rows) == 40_000


def test_tells_a_test_in_words() -> None:
    path = [plots.Standing(1, 2.5, 5.3, -4.6), plots.Standing(2, 6.0, 5.3, -4.6)]
    assert _path(path).words == (
        "After 2 pairs the log-likelihood ratio went 2.5, then 6. It accepts at 5.3 and "
        "rejects at \N{MINUS SIGN}4.6. It reached the bound to accept."
    )
    assert _path([plots.Standing(1, -4.7, 5.3, -4.6)]).words.endswith("It reached the bound to reject.")
    assert _path(path[:1]).words.endswith("It lies between the bounds.")


def test_a_bound_out_of_reach_is_drawn_at_the_edge() -> None:
    plot = _path([plots.Standing(1, 3.0, 1e29, -1.0)])
    root = _checked(plot)
    [bound] = root.findall("path[@class='bound accept']")
    [dot] = root.findall("circle")
    assert float(dot.attrib["cy"]) - _points_of(bound)[-1][1] > 20, "the ratio is told apart from the bounds"
    assert plot.rows == ((1, 3.0, 1e29, -1.0),)
    assert "It accepts at more than any gain can give yet and rejects at" in plot.words


def test_tells_reported_and_replayed_gain() -> None:
    assert _gains([0.011, 0.013], 0.08).words == (
        "Its maker reported a gain of 0.08. 2 pairs of replays measured 0.012 on average, from 0.011 to 0.013. "
        "A gain of 0.01 is wanted. One pair differs from the next by 0.002 (one standard deviation)."
    ).replace("0.08.", "0.08 bits per byte.")


def test_figures_follow_the_readers_language_and_coordinates_do_not() -> None:
    line = plots.Curve("a", "TIP", ((0, 1.5), (10, 0.25)))
    with translation.override("de"):
        assert axes.number(0.0123) == "0,0123"
        plot = _curves([line])
        labels = [each.text for each in _checked(plot).findall("text")]
        assert "0,5" in labels or "0,50" in labels
    assert "0.5" in [each.text for each in _checked(_curves([line])).findall("text")]


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (0.0, "0"),
        (0.0123456, "0.0123"),
        (-0.5, "\N{MINUS SIGN}0.5"),
        (12345.6, "12346"),
        (1.5e-7, "1.5e\N{MINUS SIGN}7"),
        (-2.5e12, "\N{MINUS SIGN}2.5e12"),
        (1.0, "1"),
    ],
)
def test_writes_a_figure_with_three_digits(figure: float, words: str) -> None:
    assert axes.number(figure) == words


@given(figure=_FIGURES)
def test_writes_every_figure_shortly(figure: float) -> None:
    assert 1 <= len(axes.number(figure)) <= 10


@given(words=st.text(), most=st.integers(1, 50))
def test_cleans_any_text(words: str, most: int) -> None:
    line = axes.clean(words, most)
    assert len(line) <= most
    assert "\n" not in line
    _parsed(f"<a>{html.escape(line)}</a>")
