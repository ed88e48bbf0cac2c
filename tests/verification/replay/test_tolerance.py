"""Equal bits on one class; across classes the measured band, the optimiser's moments by themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.replay import tolerance
from verification.replay.digests import MalformedTensors, Tensor

_DICE = np.random.default_rng(4)
WEIGHTS = _DICE.normal(size=1000)
STEP = _DICE.normal(size=1000) * 0.01
MOMENTS = _DICE.normal(size=1000) * 1e-4


def state(weights: np.ndarray, moments: np.ndarray = MOMENTS, count: float = 20.0, random: bytes = b"abcd") -> list[Tensor]:
    return [
        Tensor("model.w", "F32", (len(weights),), weights.astype("<f4").tobytes()),
        Tensor("optimizer.0.w.exp_avg", "F32", (len(moments),), moments.astype("<f4").tobytes()),
        Tensor("optimizer.0.w.step", "F32", (), np.array(count, "<f4").tobytes()),
        Tensor("rng.torch", "U8", (4,), random),
    ]


START = state(WEIGHTS, MOMENTS * 0.5, 0.0, b"0000")
END = state(WEIGHTS + STEP)


def compare(reported: list[Tensor], *, is_same_class: bool = False, **options: float) -> tolerance.Comparison:
    return tolerance.compare(START, END, reported, is_same_class=is_same_class, **options)


@pytest.mark.parametrize("is_same_class", [True, False])
def test_equal_bits_pass(is_same_class: bool) -> None:
    assert compare(END[::-1], is_same_class=is_same_class) == tolerance.Comparison(is_exact=True, error=0.0, outcome="PASS")


def test_rounding_passes_across_classes_alone() -> None:
    # A shift of a millionth of the movement.
    rounded = state(WEIGHTS + STEP * (1 + 2e-6))
    assert compare(rounded).outcome == "PASS"
    assert 0 < compare(rounded).error < tolerance.BAND
    assert compare(rounded, is_same_class=True).outcome == "FAIL"


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(state(WEIGHTS + STEP * 1.01), id="a larger rate"),
        pytest.param(state(WEIGHTS + STEP * 0.95), id="a step fewer"),
        pytest.param(state(WEIGHTS), id="nothing done"),
        pytest.param(state(-WEIGHTS), id="other weights"),
        pytest.param(state(WEIGHTS + STEP, MOMENTS * 1.001), id="other moments"),
        pytest.param(state(WEIGHTS + STEP, count=21.0), id="another count"),
        pytest.param(state(WEIGHTS + STEP, random=b"abce"), id="another random state"),
        pytest.param(state(WEIGHTS * math.nan), id="not a number"),
        pytest.param(state(WEIGHTS * math.inf), id="infinite"),
        pytest.param(state(WEIGHTS * 1e30), id="huge"),
        pytest.param(state(WEIGHTS[:999] + STEP[:999]), id="another shape"),
        pytest.param(END[:3], id="less"),
        pytest.param([*END, Tensor("model.x", "U8", (1,), b"x")], id="more"),
    ],
)
@pytest.mark.parametrize("is_same_class", [True, False])
def test_forgeries_fail(forged: list[Tensor], is_same_class: bool) -> None:
    found = compare(forged, is_same_class=is_same_class)
    assert (found.is_exact, found.outcome) == (False, "FAIL")
    assert tolerance.BAND < found.error <= tolerance.LARGEST_ERROR


def test_a_segment_without_movement_has_no_band() -> None:
    found = tolerance.compare(END, END, state(WEIGHTS + STEP * (1 + 1e-4)), is_same_class=False)
    assert (found.error, found.outcome) == (tolerance.LARGEST_ERROR, "FAIL")


def test_an_unstable_segment_has_a_wider_band() -> None:
    departed = state(WEIGHTS + STEP * 1.005)
    assert compare(departed).outcome == "FAIL"
    assert compare(departed, sway=4e-4).outcome == "PASS"
    assert compare(departed, sway=1e-5).outcome == "FAIL"
    assert compare(departed, is_same_class=True, sway=4e-4).outcome == "FAIL"


def test_a_segment_that_proves_nothing_is_no_forgery_and_no_pass() -> None:
    departed = state(WEIGHTS + STEP * 1.2)
    assert compare(departed, sway=0.01).outcome == "UNSTABLE"
    assert compare(state(WEIGHTS * 2), sway=0.01).outcome == "FAIL"


def test_a_nudge_moves_weights_alone_and_by_one_unit() -> None:
    moved = {one.name: one for one in tolerance.nudged(START)}
    before = np.frombuffer(START[0].data, "<f4").view("<i4")
    after = np.frombuffer(moved["model.w"].data, "<f4").view("<i4")
    assert set(np.abs(after - before)) == {1}
    assert [moved[one.name] for one in START[1:]] == START[1:]
    assert tolerance.nudged(START) == tolerance.nudged(START[::-1])


def test_refuses_tensors_that_are_none() -> None:
    with pytest.raises(MalformedTensors):
        compare([Tensor("model.w", "F32", (2,), b"x")])


@given(st.floats(0, 1e-2), st.floats(0, 1e-2))
def test_a_larger_departure_is_a_larger_error(one: float, other: float) -> None:
    less, more = (compare(state(WEIGHTS + STEP * (1 + size))).error for size in sorted((one, other)))
    assert less <= more * (1 + 1e-6) + 1e-9


def test_honest_profiles_are_plausible_and_teleports_are_not() -> None:
    reference = [0.04, 0.03, 0.02, 0.01]
    assert tolerance.is_profile_plausible([0.04 * 0.85, 0.03 * 1.06, 0.02, 0.01], reference)
    assert tolerance.suspects([0.04, 204.0, 0.02, 0.0], reference) == (1, 3)
    assert not tolerance.is_profile_plausible(reference[:3], reference)
    assert tolerance.suspects([math.nan], [0.1]) == (0,)
