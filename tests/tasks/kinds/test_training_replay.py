"""The terms of a training task: they ..."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kinds import training_replay
from verification.replay import spec as specs
from verification.replay import trees


def document() -> dict[str, Any]:
    """Return terms that are taken."""
    data = [
        {"name": f"{role}.bin", "role": role, "sha256": digit * 64, "byte_count": 10_000}
        for role, digit in (("train", "a"), ("validation", "b"), ("holdout", "c"), ("asset", "d"))
    ]
    return {
        "version": 1, "interface": "trainer/1", "base_tree": "0" * 64, "editable": ["train.py", "net/layers.py"],
        "max_tree_bytes": 100_000, "data": data, "steps": 200, "rows": 16, "sequence": 64, "checkpoint_every": 20,
        "vocabulary": 256, "wall_s": 60, "max_parameters": 200_000, "memory_mib": 1024, "eval_tokens": 4096,
        "metric": "bits_per_byte", "token_bytes": None, "min_effect": 0.01, "unpaired_sd": 0.02, "paired_sd": 0.004,
        "max_pairs": 8, "hardware": ["cpu", "NVIDIA H100 80GB HBM3"], "precision": "fp32", "sandbox_level": "bwrap-cpu",
        "is_confirmed_on_second_class": False,
    }  # fmt: skip


def is_taken(value: object) -> bool:
    """Tell whether the judging side reads a document."""
    try:
        specs.Spec.from_json(value)
    except specs.MalformedSpec:
        return False
    return True


_ODD = [
    None, True, False, 0, 1, 2, -1, 20, 256, 257, 4096, 10_000, 10_001, 0.0, 1e-13, 1e-9, 100, 100.5, 1e300, 10**400, float("inf"),
    float("nan"), "", "1", "cpu", "CPU", "train.py", "Train.py", "../x", "/x", "a/b", ".git", "x" * 300, "a\n", "cpu\n", "\ud800", "0" * 64,
    "A" * 64, "bits_per_byte", "bf16", "vm-gpu", "none", "asset.bin", [], ["train.py"], ["cpu", "CPU"], ["x"] * 17, {}, {"name": "x"},
    "d" * 64, "a" * 64, "asset", "train", "validation", 33, 32, 64, 63, 1000, 1 << 20, (1 << 20) + 1, "a" * 64 + "/b", "trainer/1",
]  # fmt: skip


def put(path: tuple[str | int, ...], value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of one place of a document."""

    def change(terms: dict[str, Any]) -> None:
        inside: Any = terms
        for part in path[:-1]:
            inside = inside[part]
        inside[path[-1]] = value

    return change


_PLACES: list[tuple[str | int, ...]] = [
    *((name,) for name in document()),
    *(("data", index, name) for index in range(4) for name in ("name", "role", "sha256", "byte_count", "more")),
    ("editable", 0),
    ("hardware", 1),
    ("unknown",),
]
_changes = st.builds(put, st.sampled_from(_PLACES), st.sampled_from(_ODD))


def test_are_taken_by_both_readers() -> None:
    assert training_replay.errors_of(document()) == []
    assert is_taken(document())
    assert (training_replay.MAX_TREE_BYTES, training_replay.MAX_PATH) == (trees.MAX_TREE_BYTES, trees.MAX_PATH)
    assert (training_replay.MAX_SEGMENTS, training_replay.BYTE_VOCABULARY) == (specs.MAX_SEGMENTS, specs.BYTE_VOCABULARY)


@pytest.mark.parametrize("path", _PLACES, ids=str)
def test_are_read_alike_with_any_odd_value_in_one_place(path: tuple[str | int, ...]) -> None:
    for value in _ODD:
        terms = document()
        put(path, value)(terms)
        assert (training_replay.errors_of(terms) == []) is is_taken(terms), (path, value)


@settings(max_examples=300)
@given(st.lists(_changes, min_size=2, max_size=4), st.lists(st.sampled_from(sorted(document())), max_size=1))
def test_are_read_alike_with_several_odd_values(changes: list[Callable[[dict[str, Any]], None]], gone: list[str]) -> None:
    terms = document()
    for change in changes:
        try:
            change(terms)
        except (TypeError, KeyError, IndexError):
            continue  # An earlier change took the place away.
    for name in gone:
        terms.pop(name, None)
    assert (training_replay.errors_of(terms) == []) is is_taken(terms)


@pytest.mark.parametrize("whole", [None, [], "terms", 7, {}])
def test_are_an_object(whole: object) -> None:
    assert training_replay.errors_of(whole)
    assert not is_taken(whole)


def test_name_every_wrong_field_by_its_path() -> None:
    terms = document() | {"steps": 0, "hardware": ["cpu", "?"], "a word\n": 1}
    terms["data"][2]["sha256"] = "x"
    terms["data"][3]["<script>"] = 1
    del terms["rows"]
    found = training_replay.errors_of(terms)
    assert {error.path for error in found} == {"steps", "hardware[1]", "", "data[2].sha256", "data[3]", "rows"}
    assert "script" not in json.dumps(found)
    assert "a word" not in json.dumps(found)
    both = training_replay.errors_of(document() | {"checkpoint_every": 30})
    assert both == [("checkpoint_every", "give a divisor of steps that makes at most 1000 checkpoints")]
