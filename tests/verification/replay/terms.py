"""Specs, reports and hostile values that the tests of replays share."""

import copy

from hypothesis import strategies as st

from verification.replay import digests
from verification.replay.classes import ClassKey
from verification.replay.reports import Report
from verification.replay.spec import Spec

CPU = ClassKey(hardware="cpu", torch="2.13.0+cpu", isa="AVX2", threads=1, precision="fp32", is_compiled=False, driver="none")
BASE = {"train.py": "RATE = 3e-3\n", "model.py": "WIDTH = 64\n"}

# Anything that JSON can hold, and numbers that it cannot.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def data_file(role: str, sign: str, **changed: object) -> dict[str, object]:
    return {"name": role, "role": role, "sha256": sign * 64, "byte_count": 100_000, **changed}


def spec_json(**changed: object) -> dict[str, object]:
    """A task of 136 thousand parameters on bytes, with noise as measured."""
    fields: dict[str, object] = {
        "version": 1,
        "interface": "trainer/1",
        "base_tree": "0" * 64,
        "editable": ["train.py", "model.py"],
        "max_tree_bytes": 100_000,
        "data": [data_file("train", "1"), data_file("validation", "2"), data_file("holdout", "3")],
        "steps": 200,
        "rows": 8,
        "sequence": 64,
        "checkpoint_every": 20,
        "vocabulary": 256,
        "wall_s": 600,
        "max_parameters": 1_000_000,
        "memory_mib": 2048,
        "eval_tokens": 65_536,
        "metric": "bits_per_byte",
        "token_bytes": None,
        "min_effect": 0.01,
        "unpaired_sd": 0.0283,
        "paired_sd": 0.005,
        "max_pairs": 12,
        "hardware": ["cpu"],
        "precision": "fp32",
        "sandbox_level": "bwrap-cpu",
        "is_confirmed_on_second_class": False,
    }
    return fields | changed


def spec(**changed: object) -> Spec:
    return Spec.from_json(spec_json(**changed))


def report_json(**changed: object) -> dict[str, object]:
    """A report of ten segments whose root is that over its leaves."""
    leaves = [bytes([index]) * 32 for index in range(11)]
    fields: dict[str, object] = {
        "run_id": "rpl_0190",
        "spec_digest": "a" * 64,
        "tree_digest": "b" * 64,
        "seed": (1 << 63) - 1,
        "class_text": CPU.text,
        "root": digests.root(leaves).hex(),
        "leaf_count": 11,
        "leaves": [leaf.hex() for leaf in leaves],
        "norms": [0.1 * index for index in range(1, 11)],
        "tokens_served": 102_400,
        "steps": 200,
        "wall_s": 4.5,
        "cpu_s": 3.25,
        "peak_memory_bytes": 300 << 20,
        "sandbox_level": "bwrap-cpu",
        "runner_version": "0.4.0",
        "curve": [[0, 5.5], [199, 2.25]],
    }
    return copy.deepcopy(fields) | changed


def report(**changed: object) -> Report:
    return Report.from_json(report_json(**changed))
