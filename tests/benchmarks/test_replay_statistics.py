"""The measuring of verdicts: its intervals are right, and a short run of it breaks no promise."""

import argparse

import numpy as np
import pytest

from tests.benchmarks import replay_statistics


@pytest.mark.parametrize(("events", "count", "low", "high"), [(0, 100, 0.0, 0.0362), (100, 100, 0.9638, 1.0), (5, 50, 0.0333, 0.2181)])
def test_small_intervals_are_exact(events: int, count: int, low: float, high: float) -> None:
    assert replay_statistics.interval(events, count) == pytest.approx((low, high), abs=1e-4)


def test_large_intervals_go_on_from_the_exact_ones() -> None:
    exact, beyond = (replay_statistics.interval(events, 100_000) for events in (1000, 1001))
    assert exact == pytest.approx(beyond, abs=3e-5)


def test_a_figure_stands_with_its_number() -> None:
    assert replay_statistics.rate(np.zeros(100, dtype=bool)) == "0.000 % (0.000 to 3.622, n 100)"


def test_a_short_run_keeps_what_is_promised() -> None:
    report = replay_statistics.run(argparse.Namespace(seed=2, rounds=1))
    assert report.violations == []
    assert report.figures["trust the claim: false accepts (true gain <= 0)"].startswith("100.000 %")  # type: ignore[union-attr]
    assert float(str(report.figures["claims of both, runs a verdict: baselines cached"])) < replay_statistics.MOST_RUNS
