"""Batches by seed and step."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from gpu_workers.runner import broker
from tests.gpu_workers.runner import small
from verification.replay.spec import DataFile, Spec

FIRST_BATCH = "607b8a6b49c93f2d2b888a35cd4ede409bd1388a6037763800f0598002893633"


def test_serves_each_step_s_rows_whatever_came_before(small_spec: Spec, small_data: Mapping[str, Path]) -> None:
    straight = broker.Broker(spec=small_spec, data=small_data, seed=5)
    batches = [straight.batch() for _ in range(8)]
    late = broker.Broker(spec=small_spec, data=small_data, seed=5, first=6)
    assert np.array_equal(late.batch(), batches[6])
    assert batches[0].shape == (4, 17)
    assert not np.array_equal(batches[0], batches[1])


def test_serves_rows_of_the_training_text(small_spec: Spec, small_data: Mapping[str, Path]) -> None:
    text = small_data["train.bin"].read_bytes()
    for row in broker.Broker(spec=small_spec, data=small_data, seed=9).batch():
        assert bytes(row.astype(np.uint8)) in text


def test_serves_what_it_served_when_this_was_written(small_spec: Spec, small_data: Mapping[str, Path]) -> None:
    # A change here makes every root of every run another one.
    batch = broker.Broker(spec=small_spec, data=small_data, seed=5).batch()
    assert hashlib.sha256(batch.tobytes()).hexdigest() == FIRST_BATCH


def test_counts_tokens_and_ends_with_the_budget(small_spec: Spec, small_data: Mapping[str, Path]) -> None:
    served = broker.Broker(spec=small_spec, data=small_data, seed=5)
    for _ in range(8):
        served.batch()
    assert served.tokens_served == 8 * 4 * 16
    with pytest.raises(broker.BudgetSpent):
        served.batch()
    assert served.tokens_served == 8 * 4 * 16


def test_ends_with_its_segment(small_spec: Spec, small_data: Mapping[str, Path]) -> None:
    served = broker.Broker(spec=small_spec, data=small_data, seed=5, first=2, last=3)
    served.batch()
    with pytest.raises(broker.BudgetSpent):
        served.batch()


def test_never_crosses_from_file_to_file(tmp_path: Path, small_data: Mapping[str, Path]) -> None:
    paths = {**small_data, "first.bin": tmp_path / "first.bin", "second.bin": tmp_path / "second.bin"}
    paths["first.bin"].write_bytes(b"a" * 40)
    paths["second.bin"].write_bytes(b"b" * 30)
    data = tuple(
        DataFile(name, "train", hashlib.sha256(paths[name].read_bytes()).hexdigest(), paths[name].stat().st_size)
        for name in ("first.bin", "second.bin")
    )
    terms = small.spec(small_data, data=data, rows=64)
    seen = {bytes(row.astype(np.uint8)) for row in broker.Broker(spec=terms, data=paths, seed=1).batch()}
    assert seen == {b"a" * 17, b"b" * 17}


def test_reads_larger_tokens_little_endian(tmp_path: Path, small_data: Mapping[str, Path]) -> None:
    path = tmp_path / "train.bin"
    path.write_bytes(np.arange(1000, 1017, dtype="<u2").tobytes())
    data = (DataFile("train.bin", "train", hashlib.sha256(path.read_bytes()).hexdigest(), 34),)
    terms = small.spec(small_data, data=data, rows=1, vocabulary=8192, token_bytes="unused")
    assert broker.Broker(spec=terms, data={"train.bin": path}, seed=1).batch().tolist() == [list(range(1000, 1017))]
    narrow = small.spec(small_data, data=data, rows=1, vocabulary=1010, token_bytes="unused")
    with pytest.raises(broker.WrongData, match="outside the vocabulary"):
        broker.Broker(spec=narrow, data={"train.bin": path}, seed=1).batch()


@pytest.mark.parametrize("change", ["missing", "shorter", "other"])
def test_refuses_another_file(small_spec: Spec, small_data: Mapping[str, Path], tmp_path: Path, change: str) -> None:
    path = tmp_path / "train.bin"
    content = small_data["train.bin"].read_bytes()
    if change != "missing":
        path.write_bytes(content[:-1] if change == "shorter" else content[:-1] + b"!")
    with pytest.raises(broker.WrongData, match=r"train\.bin"):
        broker.Broker(spec=small_spec, data={**small_data, "train.bin": path}, seed=1)


def test_draws_meaningless_tokens_over_the_whole_vocabulary(small_spec: Spec) -> None:
    batch = np.concatenate([broker.meaningless_batch(spec=small_spec, seed=1, step=step) for step in range(100)])
    assert batch.shape == (400, 17)
    assert set(batch.ravel().tolist()) == set(range(256))
