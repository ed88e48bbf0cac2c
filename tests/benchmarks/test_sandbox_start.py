from tests.benchmarks import sandbox_start


def test_measures_starts_that_happened() -> None:
    figures = sandbox_start.measure(rounds=2)
    assert figures["rounds"] == 2
    times = [figure for name, figure in figures.items() if name.endswith("median") and "overhead" not in name]
    assert len(times) == 2
    assert all(isinstance(time, float) and time > 0 for time in times)
