"""Scores are normalised by the evaluator, and probes tell leaks from rounding."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay import scoring
from verification.replay.scoring import MalformedScore, NotScorable, Score

_DICE = np.random.default_rng(3)
LOGITS = _DICE.normal(size=(512, 256)).astype(np.float32)


def probes() -> tuple[scoring.Probe, ...]:
    return (
        scoring.probe_truncated(LOGITS, LOGITS),
        scoring.probe_row_alone(LOGITS, LOGITS),
        scoring.probe_state(LOGITS, LOGITS),
        scoring.probe_order(LOGITS, LOGITS),
        scoring.probe_normalised(scoring.log_softmax(LOGITS)),
    )


def test_a_uniform_guess_has_eight_bits_a_byte() -> None:
    logits = np.zeros((2, 5, 256), dtype=np.float32)
    nats = scoring.nll_nats(logits, np.zeros((2, 5), dtype=np.int64))
    assert scoring.bits_per_byte(nats, 10) == pytest.approx(8.0, abs=1e-12)


def test_tokens_of_several_bytes_spread_their_bits() -> None:
    assert scoring.bits_per_byte(math.log(2) * 12, 6) == pytest.approx(2.0)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
def test_log_probabilities_add_up_to_one(row: list[float]) -> None:
    exact = scoring.log_softmax(np.array(row, dtype=np.float32))
    assert exact.dtype == np.float64
    assert np.exp(exact).sum() == pytest.approx(1.0, abs=1e-12)
    assert (exact <= 0).all()


def test_a_model_s_own_scale_of_probability_counts_for_nothing() -> None:
    targets = _DICE.integers(0, 256, size=512)
    # Logits shifted up by what is claimed to be probability: the evaluator normalises, so nothing is gained.
    assert scoring.nll_nats(LOGITS + 50, targets) == pytest.approx(scoring.nll_nats(LOGITS, targets), rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_logits_that_are_not_finite(value: float) -> None:
    broken = LOGITS.copy()
    broken[100, 3] = value
    with pytest.raises(NotScorable):
        scoring.nll_nats(broken, np.zeros(512, dtype=np.int64))
    with pytest.raises(NotScorable):
        scoring.probe_state(LOGITS, broken)


@pytest.mark.parametrize("shape", [(512,), (511, 256), (512, 255, 1), (0, 256)])
def test_refuses_logits_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotScorable):
        scoring.nll_nats(np.zeros(shape), np.zeros(512, dtype=np.int64))


def test_refuses_targets_outside_the_vocabulary() -> None:
    with pytest.raises(NotScorable):
        scoring.nll_nats(LOGITS, np.full(512, 256))


def test_rounding_passes_every_probe() -> None:
    rounded = LOGITS + _DICE.normal(scale=2e-6, size=LOGITS.shape).astype(np.float32)
    assert scoring.probe_truncated(LOGITS, rounded).is_passed
    assert Score(1.0, 1.0, 5, probes()).is_clean


@pytest.mark.parametrize("probe", [scoring.probe_truncated, scoring.probe_row_alone, scoring.probe_state, scoring.probe_order])
def test_one_position_that_differs_fails(probe: object) -> None:
    leaked = LOGITS.copy()
    leaked[7, 65] += 0.1
    found = probe(LOGITS, leaked)  # type: ignore[operator]
    assert (found.is_passed, found.positions, found.positions_beyond) == (False, 512, 1)
    assert 0.09 < found.largest <= 0.1


@pytest.mark.parametrize("row", [[0.0, 0.0], [-math.inf, -math.inf], [math.nan, 0.0], [800.0, 0.0], [math.log(0.5), math.log(0.49)]])
def test_probabilities_that_do_not_add_up_fail(row: list[float]) -> None:
    found = scoring.probe_normalised(np.array([row, [math.log(0.5)] * 2]))
    assert (found.is_passed, found.positions_beyond) == (False, 1)
    assert math.isfinite(found.largest)


def test_a_score_is_clean_when_every_probe_ran_and_passed() -> None:
    assert not Score(1.0, 1.0, 5, probes()[:4]).is_clean
    leaked = scoring.probe_state(LOGITS, LOGITS * 2)
    assert not Score(1.0, 1.0, 5, (*probes()[:2], leaked, *probes()[3:])).is_clean


def test_reads_back_what_it_writes() -> None:
    score = Score(2.25, 2.5, 136_000, probes())
    assert Score.from_json(score.to_json()) == score


@pytest.mark.parametrize(
    "change",
    [
        {"public": math.nan},
        {"holdout": -0.1},
        {"holdout": "2.5"},
        {"parameter_count": 0},
        {"verdict": "ACCEPT"},
        {"probes": [{}]},
        {"probes": [*[one.__dict__ for one in probes()], probes()[0].__dict__]},
        {"probes": [probes()[0].__dict__] * 2},
        {"probes": [probes()[0].__dict__ | {"name": "other"}]},
        {"probes": [probes()[0].__dict__ | {"tolerance": 0.5}]},
        {"probes": [probes()[0].__dict__ | {"largest": 0.5}]},
        {"probes": [probes()[0].__dict__ | {"positions_beyond": 3}]},
        {"probes": [probes()[0].__dict__ | {"positions_beyond": 513, "largest": 1.0}]},
    ],
)
def test_refuses_what_does_not_agree(change: dict[str, object]) -> None:
    with pytest.raises(MalformedScore):
        Score.from_json(Score(2.25, 2.5, 136_000, probes()).to_json() | change)


@given(terms.JSON)
def test_raises_nothing_else(value: object) -> None:
    with pytest.raises(MalformedScore):
        Score.from_json(value)
