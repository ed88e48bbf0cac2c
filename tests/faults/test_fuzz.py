"""Strangers' bytes find nothing that a reader does not document; a reader with a hole is found out."""

import pytest

from tests.faults import campaign, fuzz, fuzz_readers


def test_names_every_reader() -> None:
    assert set(fuzz.READERS) == set(fuzz_readers.READERS)


@pytest.mark.parametrize("reader", ["json", "address", "photo"])
def test_finds_nothing_undocumented(reader: str) -> None:
    report = campaign.Report()
    fuzz.fuzz(reader, seed=1, rounds=1_000, report=report)
    assert report.violations == []


def test_finds_a_reader_with_a_hole() -> None:
    report = campaign.Report()
    fuzz.fuzz("money", seed=1, rounds=20_000, report=report, planted="tests.faults.fuzz_planted")
    assert len(report.violations) == 1
    assert "InvalidOperation" in report.violations[0]
