"""The calibration table and the bounds it rests on."""

from pathlib import Path

import pytest

from verification import calibration
from verification.calibration import Counts


def counts(*, true: int, false: int, of: int = 250) -> Counts:
    return Counts(
        true_pairs=of,
        true_pairs_beyond=true,
        false_pairs=of,
        false_pairs_beyond=false,
        same_category_pairs=of,
        same_category_pairs_beyond=0,
    )


@pytest.mark.parametrize(
    ("errors", "count", "bound"),
    [
        # The rule of three's exact form: 1 - 0.05 ** (1 / n).
        (0, 149, 0.019905),
        (0, 1497, 0.001999),
        # Clopper and Pearson, one-sided 95 %, as quantiles of beta distributions give them.
        (1, 100, 0.046560),
        (5, 50, 0.198833),
        (50, 50, 1.0),
    ],
)
def test_upper_bound_of_a_rate_is_clopper_pearson_s(errors: int, count: int, bound: float) -> None:
    assert calibration.rate_upper(errors=errors, count=count, confidence=0.95) == pytest.approx(bound, abs=2e-5)


def test_lower_bound_mirrors_the_upper_one() -> None:
    assert calibration.rate_lower(successes=0, count=10, confidence=0.95) == 0.0
    lower = calibration.rate_lower(successes=45, count=50, confidence=0.95)
    assert lower == pytest.approx(1 - calibration.rate_upper(errors=5, count=50, confidence=0.95), abs=1e-9)


def test_bound_on_bad_among_accepted_grows_with_errors_and_share() -> None:
    def bound(false: int, share: float) -> float:
        return calibration.bad_among_accepted_upper(counts(true=125, false=false), bad_share=share, confidence=0.95)

    assert bound(0, 0.2) < bound(1, 0.2) < bound(1, 0.5) < bound(9, 0.5)
    # Nothing accepted proves nothing.
    assert calibration.bad_among_accepted_upper(counts(true=0, false=0), bad_share=0.2, confidence=0.95) == 1.0


def test_the_shipped_table_certifies_what_its_counts_prove() -> None:
    table = calibration.table()
    for row in table.accept:
        proven = calibration.bad_among_accepted_upper(row.held_out, bad_share=table.assumed_bad_share, confidence=table.confidence)
        assert row.bad_among_accepted_upper == pytest.approx(proven, abs=1e-9)
        assert row.is_certified == (proven <= row.max_false_accept)
    retake = calibration.rate_upper(
        errors=table.retake.held_out.true_pairs_beyond, count=table.retake.held_out.true_pairs, confidence=table.confidence
    )
    assert table.retake.good_asked_again_upper == pytest.approx(retake, abs=1e-9)
    assert not table.reject.is_certified


def test_thresholds_are_given_only_where_certified() -> None:
    strictest = calibration.certified()
    assert strictest.bad_among_accepted_upper is not None
    limits = calibration.thresholds_for(0.02)
    assert limits is not None
    assert limits.bad_among_accepted_upper <= 0.02
    assert limits.reject_below is None
    assert calibration.thresholds_for(strictest.bad_among_accepted_upper) is not None
    assert calibration.thresholds_for(strictest.bad_among_accepted_upper - 1e-9) is None
    assert calibration.thresholds_for(0.002) is None


def test_readings_of_another_model_are_refused() -> None:
    calibration.require_model(calibration.table().model_hash)
    with pytest.raises(calibration.ModelNotCalibrated):
        calibration.require_model("0" * 64)


def test_a_table_that_certifies_nothing_gives_no_thresholds(tmp_path: Path) -> None:
    table = calibration.table()
    rows = tuple(row.model_copy(update={"is_certified": False}) for row in table.accept)
    file = tmp_path / "table.json"
    file.write_text(table.model_copy(update={"accept": rows}).model_dump_json())
    assert calibration.thresholds_for(1.0, path=file) is None
    assert calibration.certified(path=file).max_false_accept is None
