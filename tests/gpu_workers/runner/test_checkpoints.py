"""Reading checkpoints from strangers' bytes."""

import json
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_workers.runner import checkpoints
from gpu_workers.runner.harness import packing
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay import digests
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

WEIGHT = Tensor("model.w", "F32", (2,), struct.pack("<2f", 1.0, 2.0))


def headed(header: object, data: bytes = b"") -> bytes:
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words)) + words + data


def test_reads_what_it_wrote(small_spec: Spec) -> None:
    tensors = (WEIGHT, Tensor("optimizer.0.state.0.step", "F32", (), b"\0\0\x80?"), Tensor("rng.torch", "U8", (3,), b"abc"))
    content = checkpoints.packed(tensors, 4)
    assert checkpoints.read(content, small_spec) == tensors
    assert checkpoints.packed(reversed(tensors), 4) == content


def test_aligns_every_tensor(small_run: Trained) -> None:
    tensors = checkpoints.read_file(small_run.finished.checkpoint_paths[1], small_run.spec)
    content = packing.pack(tensors, {})
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 8 == 0
    for one in tensors:
        assert header[one.name]["data_offsets"][0] % digests.ELEMENT_BYTES[one.dtype] == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "state_malformed"),
        (pickle.dumps({"model": [1.0]}), "state_malformed"),
        (struct.pack("<Q", 1 << 40) + b"{}", "state_malformed"),
        (headed({"model.w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}}), "state_malformed"),
        (headed({"model.w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)), "state_malformed"),
        (headed({"model.w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)), "state_malformed"),
        (headed({"model.w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)), "state_malformed"),
        (headed({"weights": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "state_unknown_name"),
        (headed({"model.\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "state_unknown_name"),
        (headed({"rng.torch": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, bytes(1)), "state_malformed"),
        (headed({"model.w": {"dtype": "U8", "shape": [5001], "data_offsets": [0, 5001]}}, bytes(5001)), "too_many_parameters"),
        (bytes(5000 * 24 + (4 << 20) + 1), "state_too_large"),
    ],
)
def test_refuses_what_is_no_checkpoint(small_data: dict[str, Path], content: bytes, code: str) -> None:
    with pytest.raises(checkpoints.BadCheckpoint) as refused:
        checkpoints.read(content, small.spec(small_data))
    assert refused.value.code == code


@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_reads_or_refuses_damaged_bytes(small_spec: Spec, place: int, value: int) -> None:
    content = bytearray(checkpoints.packed((WEIGHT,), 1))
    content[place % len(content)] = value
    try:
        tensors = checkpoints.read(bytes(content), small_spec)
    except checkpoints.BadCheckpoint:
        return
    assert checkpoints.parameter_count(tensors) == 2


def test_says_when_weights_are_not_finite() -> None:
    broken = Tensor("model.w", "F32", (2,), struct.pack("<2f", 1.0, float("nan")))
    with pytest.raises(checkpoints.BadCheckpoint) as refused:
        checkpoints.movement((WEIGHT,), (broken,))
    assert refused.value.code == "weights_not_finite"


def test_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "one"
    checkpoints.write_durably(path, b"first")
    checkpoints.write_durably(path, b"second")
    assert path.read_bytes() == b"second"
    assert [one.name for one in tmp_path.iterdir()] == ["one"]
