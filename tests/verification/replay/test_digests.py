"""A root commits to every byte of every checkpoint, and movements are what they say."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.replay import digests
from verification.replay.digests import Tensor

_LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


def floats(name: str, values: list[float], dtype: str = "F32") -> Tensor:
    written = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
    return Tensor(name, dtype, (len(values),), np.array(values, dtype=written[dtype]).tobytes())


STATE = [floats("model.w", [1.0, 2.0]), floats("optimizer.0.w.exp_avg", [0.5, 0.5]), Tensor("rng.torch", "U8", (3,), b"abc")]


def test_the_order_of_tensors_does_not_matter() -> None:
    assert digests.leaf(20, STATE) == digests.leaf(20, reversed(STATE))


@pytest.mark.parametrize(
    "other",
    [
        [*STATE[:2], Tensor("rng.torch", "U8", (3,), b"abd")],
        [*STATE[:2], Tensor("rng.torch", "I8", (3,), b"abc")],
        [*STATE[:2], Tensor("rng.torch", "U8", (3, 1), b"abc")],
        [*STATE[:2], Tensor("rng.numpy", "U8", (3,), b"abc")],
        STATE[:2],
    ],
)
def test_name_type_shape_and_bytes_do(other: list[Tensor]) -> None:
    assert digests.leaf(20, other) != digests.leaf(20, STATE)
    assert digests.leaf(21, STATE) != digests.leaf(20, STATE)


def test_neighbours_do_not_run_together() -> None:
    one = [Tensor("a", "U8", (2,), b"bc"), Tensor("d", "U8", (1,), b"e")]
    other = [Tensor("a", "U8", (1,), b"b"), Tensor("cd", "U8", (2,), b"ee")]
    assert digests.leaf(0, one) != digests.leaf(0, other)


@pytest.mark.parametrize(
    "tensors",
    [
        [STATE[0], STATE[0]],
        [Tensor("a", "F8", (1,), b"x")],
        [Tensor("a", "U8", (2,), b"x")],
        [Tensor("a", "U8", (-1,), b"")],
        [Tensor("a", "U8", (1 << 70, 0), b"")],
        [Tensor("\u00e4", "U8", (1,), b"x")],
        [Tensor("\ud800", "U8", (1,), b"x")],
    ],
)
def test_refuses_tensors_that_are_none(tensors: list[Tensor]) -> None:
    with pytest.raises(digests.MalformedTensors):
        digests.leaf(0, tensors)


@given(_LEAVES)
def test_every_leaf_is_proven_at_its_place_and_nowhere_else(leaves: list[bytes]) -> None:
    root = digests.root(leaves)
    for index, leaf in enumerate(leaves):
        path = digests.proof(leaves, index)
        assert len(path) <= math.ceil(math.log2(len(leaves))) if len(leaves) > 1 else not path
        places = [place for place in range(len(leaves)) if digests.is_in(root, leaf, place, len(leaves), path)]
        assert index in places
        assert all(leaves[place] == leaf for place in places)
        assert not digests.is_in(root, leaf, index, len(leaves) + 1, path)
        assert not digests.is_in(root, leaf, index + len(leaves), len(leaves), path)


@given(_LEAVES, st.data())
def test_nothing_else_is_proven(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = digests.root(leaves), digests.proof(leaves, index)
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda leaf: leaf != leaves[index]))
    assert not digests.is_in(root, other, index, len(leaves), path)
    assert not digests.is_in(root, leaves[index], index, len(leaves), (*path, other))
    if path:
        assert not digests.is_in(root, leaves[index], index, len(leaves), path[:-1])
        changed = (*path[:-1], bytes([path[-1][0] ^ 1]) + path[-1][1:])
        assert not digests.is_in(root, leaves[index], index, len(leaves), changed)


def test_a_node_is_no_leaf() -> None:
    leaves = [bytes([index]) * 32 for index in range(4)]
    hashed = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    left, right = (hashlib.sha256(b"\1" + hashed[place] + hashed[place + 1]).digest() for place in (0, 2))
    root = digests.root(leaves)
    assert not digests.is_in(root, left, 0, 2, (right,))
    assert digests.root([left, right]) != root
    assert digests.root([hashed[0] + hashed[1]][:0] + leaves) == root


def test_an_odd_leaf_is_not_doubled() -> None:
    leaves = [bytes([index]) * 32 for index in range(3)]
    assert digests.root(leaves) != digests.root([*leaves, leaves[2]])


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(-3, 9), st.integers(-3, 9), st.lists(st.binary(max_size=40), max_size=4))
def test_hostile_proofs_raise_nothing(root: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> None:
    assert not digests.is_in(root, leaf, index, count, path)


def test_refuses_an_empty_root_and_a_leaf_that_is_not_there() -> None:
    with pytest.raises(digests.MalformedTensors):
        digests.root([])
    with pytest.raises(digests.MalformedTensors):
        digests.root([b"short"])
    with pytest.raises(IndexError):
        digests.proof([b"x" * 32], 1)


def test_movement_counts_the_model_s_floats_alone() -> None:
    after = [floats("model.w", [4.0, 6.0]), floats("optimizer.0.w.exp_avg", [9.0, 9.0]), Tensor("rng.torch", "U8", (3,), b"xyz")]
    assert digests.movement(STATE, after) == 5.0


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "BF16"])
def test_movement_reads_every_float_type(dtype: str) -> None:
    def tensor(values: list[float]) -> Tensor:
        if dtype != "BF16":
            return floats("model.w", values, dtype)
        upper = (np.array(values, dtype="<f4").view("<u4") >> 16).astype("<u2")
        return Tensor("model.w", "BF16", (len(values),), upper.tobytes())

    assert digests.movement([tensor([1.0, -2.0, 0.0])], [tensor([1.0, 1.0, 4.0])]) == 5.0


def test_movement_is_exact_where_float32_is_not() -> None:
    before, after = floats("model.w", [1e30, 1.0]), floats("model.w", [1e30, 1.0 + 2**-20])
    assert digests.movement([before], [after]) == 2**-20


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_diverged_has_no_movement(value: float) -> None:
    with pytest.raises(digests.NotFinite):
        digests.movement([floats("model.w", [1.0])], [floats("model.w", [value])])


def test_two_models_have_no_movement() -> None:
    with pytest.raises(digests.MalformedTensors):
        digests.movement([floats("model.w", [1.0])], [floats("model.v", [1.0])])


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), st.lists(st.floats(-1e3, 1e3, width=32), min_size=20, max_size=20)
)
def test_movement_is_a_distance(first: list[float], second: list[float]) -> None:
    one, other = [floats("model.w", first)], [floats("model.w", second[: len(first)])]
    assert digests.movement(one, one) == 0.0
    assert digests.movement(one, other) == digests.movement(other, one) >= 0.0
