"""When it was handed in, and when the phone and the file say it was taken."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.checks import facts
from tests.verification.checks.facts import MINUTE, NOON
from verification import policy
from verification.checks import REGISTRY, capture_time, exif, time_window
from verification.checks.result import Outcome

_SECOND = datetime.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("received_at", "outcome", "reason"),
    [
        (NOON, Outcome.PASS, ""),
        (NOON + 10 * MINUTE, Outcome.PASS, ""),
        (NOON + 10 * MINUTE + _SECOND, Outcome.FAIL, "too_late"),
        (NOON - 60 * MINUTE, Outcome.PASS, ""),
        (NOON - 60 * MINUTE - _SECOND, Outcome.FAIL, "too_early"),
    ],
)
def test_counts_the_servers_clock_to_the_second(received_at: datetime.datetime, outcome: Outcome, reason: str) -> None:
    result = time_window.check(facts.honest(received_at=received_at))
    assert (result.outcome, result.reason_code) == (outcome, reason)


def test_counts_the_end_of_the_task_too() -> None:
    late = facts.honest(closes_at=NOON - _SECOND)
    assert time_window.check(late).reason_code == "too_late"


@pytest.mark.parametrize(
    ("captured_at", "outcome", "reason"),
    [
        (None, Outcome.NOT_APPLICABLE, ""),
        (NOON - MINUTE, Outcome.PASS, ""),
        (NOON + 4 * MINUTE, Outcome.PASS, ""),
        (NOON + 6 * MINUTE, Outcome.INCONCLUSIVE, "captured_in_the_future"),
        (NOON - 24 * MINUTE, Outcome.PASS, ""),
        (NOON - 26 * MINUTE, Outcome.INCONCLUSIVE, "captured_before_claim"),
    ],
)
def test_lets_the_phones_clock_contradict_only(captured_at: datetime.datetime | None, outcome: Outcome, reason: str) -> None:
    result = capture_time.check(facts.honest(captured_at=captured_at))
    assert (result.outcome, result.reason_code) == (outcome, reason)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({}, ""),
        ({"captured_at": "2026:11:20 11:59:00"}, ""),
        # Another time zone, and the 24 hours that genuine COOLPIX photos are off.
        ({"captured_at": "2026:11:21 02:00:00"}, ""),
        ({"captured_at": "2026:11:19 11:59:00"}, ""),
        ({"captured_at": "2026:11:17 12:00:00"}, "metadata_names_another_day"),
        ({"captured_at": "2008:10:22 16:28:39"}, "metadata_names_another_day"),
        ({"captured_at": "0000:00:00 00:00:00"}, ""),
        ({"captured_at": "    :  :     :  :  "}, ""),
        ({"captured_at": "9999:12:31 23:59:59"}, "metadata_names_another_day"),
        ({"captured_at": "0001:01:01 00:00:00"}, "metadata_names_another_day"),
        ({"latitude": 52.52, "longitude": 13.41}, ""),
        ({"latitude": 52.55, "longitude": 13.45}, ""),
        ({"latitude": 43.46, "longitude": 11.88}, "metadata_names_another_place"),
        ({"latitude": 0.0, "longitude": 0.0}, ""),
    ],
)
def test_lets_the_file_contradict_only(written: dict[str, object], reason: str) -> None:
    result = exif.check(facts.honest(photos=(facts.photo(exif=written),)))
    assert result.reason_code == reason
    assert result.outcome == (Outcome.INCONCLUSIVE if reason else Outcome.NOT_APPLICABLE)


_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes().map(str)
_EXIF = st.dictionaries(
    st.sampled_from(["captured_at", "offset", "latitude", "longitude", "make", "software"]), _ANYTHING
) | st.fixed_dictionaries(
    {"captured_at": st.datetimes().map(lambda moment: moment.strftime("%Y:%m:%d %H:%M:%S"))},
    optional={"latitude": st.floats(-90, 90), "longitude": st.floats(-180, 180)},
)


@given(_EXIF)
def test_never_makes_a_case_better_nor_rejects_it_by_metadata(written: dict[str, object]) -> None:
    """Whoever edits EXIF can only lose by it: from accepted to a person, never from a person to accepted, never rejected."""
    order = [policy.Conclusion.REJECT, policy.Conclusion.PERSON, policy.Conclusion.ACCEPT]
    for changes in ({}, {"accuracy_m": 400.0}):
        without, edited = (
            policy.conclude(
                [policy.Ran(check, result) for check in REGISTRY.values() for result in check.run(case)], is_retake=False, is_negative=False
            )
            for case in (facts.honest(**changes), facts.honest(photos=(facts.photo(exif=written),), **changes))
        )
        assert order.index(edited) <= order.index(without)
        assert edited is not policy.Conclusion.REJECT
