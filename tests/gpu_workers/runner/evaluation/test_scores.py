"""Scores by the trusted evaluator."""

import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gpu_workers.runner import broker, evaluation
from gpu_workers.runner.harness import states
from gpu_workers.runner.workloads.byte_lm.base_tree import train
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay import scoring
from verification.replay.spec import DataFile


def test_scores_what_torch_scores(calibration_run: Trained) -> None:
    run = calibration_run
    found = evaluation.measure(
        spec=run.spec, files=run.files, seed=run.seed, checkpoint=run.checkpoints[4], data=run.data, place=small.PLACE
    )
    model = train.Model(256, 64)
    states.restore_model(model, states.unpack(run.checkpoints[4].read_bytes()))
    for name, bits in (("validation.bin", found.score.public), ("holdout.bin", found.score.holdout)):
        rows = evaluation.windows(broker.tokens(run.data[name], run.spec), run.spec)
        assert rows.shape == (256, 65)
        with torch.no_grad():
            scores = train.logits(model, torch.from_numpy(rows[:, :-1]))
        nats = torch.nn.functional.cross_entropy(scores.double().flatten(0, 1), torch.from_numpy(rows[:, 1:]).flatten())
        assert math.isclose(bits, nats.item() / math.log(2), rel_tol=1e-6)
    assert found.score.parameter_count == 135_808
    assert found.score.is_clean
    assert scoring.Score.from_json(found.score.to_json()) == found.score
    assert found.peak_memory_bytes > 0
    assert found.cpu_s > 0


def test_scores_the_same_again(small_run: Trained) -> None:
    run = small_run
    first, again = (
        evaluation.evaluate(spec=run.spec, files=run.files, seed=5, checkpoint=run.checkpoints[4], data=run.data, place=small.PLACE)
        for _ in range(2)
    )
    assert first == again


def test_leaves_no_target_of_a_window_in_another(small_run: Trained) -> None:
    tokens = np.arange(200, dtype=np.uint8)
    rows = evaluation.windows(tokens, small.spec(small_run.data, eval_tokens=100))
    assert rows.shape == (5, 17)
    assert len(set(rows.ravel().tolist())) == rows.size


def test_counts_bytes_of_tokens_and_leaves_marks_out(small_run: Trained, tmp_path: Path) -> None:

    run = small_run
    counts = np.full(256, 2, "<u2")
    counts[ord(" ")] = 0
    path = tmp_path / "token_bytes.bin"
    path.write_bytes(counts.tobytes())
    asset = DataFile("token_bytes.bin", "asset", hashlib.sha256(counts.tobytes()).hexdigest(), 512)
    terms = dataclasses.replace(run.spec, data=(*run.spec.data, asset), token_bytes="token_bytes.bin")
    scored = evaluation.evaluate(
        spec=terms, files=run.files, seed=5, checkpoint=run.checkpoints[4], data={**run.data, asset.name: path}, place=small.PLACE
    )
    model = torch.nn.ModuleDict({"table": torch.nn.Embedding(256, 8), "head": torch.nn.Linear(8, 256)})
    states.restore_model(model, states.unpack(run.checkpoints[4].read_bytes()))
    rows = torch.from_numpy(evaluation.windows(broker.tokens(run.data["holdout.bin"], terms), terms))
    with torch.no_grad():
        scores = model["head"](model["table"](rows[:, :-1])).double()
    nats = torch.nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
    is_counted = rows[:, 1:].flatten() != ord(" ")
    expected = nats[is_counted].sum().item() / math.log(2) / (2 * int(is_counted.sum()))
    assert math.isclose(scored.holdout, expected, rel_tol=1e-6)


def test_refuses_evaluation_files_of_another_hash(small_run: Trained, tmp_path: Path) -> None:
    run = small_run
    easy = tmp_path / "validation.bin"
    easy.write_bytes(b"a" * run.data["validation.bin"].stat().st_size)
    with pytest.raises(broker.WrongData, match=r"validation\.bin"):
        evaluation.evaluate(
            spec=run.spec,
            files=run.files,
            seed=5,
            checkpoint=run.checkpoints[4],
            data={**run.data, "validation.bin": easy},
            place=small.PLACE,
        )
