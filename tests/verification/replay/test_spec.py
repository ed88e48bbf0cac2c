"""A replay spec is read strictly, and one spec has one digest."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay.spec import MalformedSpec, Spec

_FILES = [terms.data_file("train", "1"), terms.data_file("validation", "2"), terms.data_file("holdout", "3")]


def test_reads_back_what_it_writes() -> None:
    spec = terms.spec()
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest == spec.digest
    assert (spec.segments, [one.name for one in spec.files("holdout")]) == (10, ["holdout"])


def test_the_digest_depends_on_values_not_on_their_spelling() -> None:
    assert terms.spec(min_effect=1, hardware=("cpu",)).digest == terms.spec(min_effect=1.0).digest
    shuffled = dict(reversed(terms.spec_json().items()))
    assert Spec.from_json(shuffled).digest == terms.spec().digest


@pytest.mark.parametrize(("field", "value"), [("steps", 400), ("min_effect", 0.02), ("hardware", ["cpu", "NVIDIA H100 80GB HBM3"])])
def test_another_value_is_another_digest(field: str, value: object) -> None:
    assert terms.spec(**{field: value}).digest != terms.spec().digest


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("version", 2, "version"),
        ("version", True, "version"),
        ("interface", "trainer/2", "interface"),
        ("base_tree", "0" * 63, "base_tree"),
        ("base_tree", "A" * 64, "base_tree"),
        ("base_tree", "0" * 64 + "\n", "base_tree"),
        ("editable", [], "editable"),
        ("editable", ["../train.py"], "editable[0]"),
        ("editable", ["train.py", "/etc/passwd"], "editable[1]"),
        ("editable", ["a/.git/config"], "editable[0]"),
        ("editable", ["train.py", "Train.py"], "editable"),
        ("editable", "train.py", "editable"),
        ("max_tree_bytes", 1_000_001, "max_tree_bytes"),
        ("data", _FILES[:2], "data"),
        ("data", [*_FILES[:2], terms.data_file("asset", "4")], "data"),
        ("data", [*_FILES, terms.data_file("train", "4")], "data"),
        ("data", [*_FILES, terms.data_file("train", "3", name="again")], "data"),
        ("data", [*_FILES[:2], terms.data_file("holdout", "3", path="/x")], "data[2]"),
        ("data", [*_FILES[:2], terms.data_file("holdout", "3", byte_count=0)], "data[2].byte_count"),
        ("data", [*_FILES[:2], terms.data_file("holdout", "3", byte_count=65_535)], "eval_tokens"),
        ("data", [*_FILES[:2], "holdout"], "data[2]"),
        ("steps", 0, "steps"),
        ("steps", 200.0, "steps"),
        ("checkpoint_every", 30, "checkpoint_every"),
        ("vocabulary", 257, "token_bytes"),
        ("token_bytes", "train", "token_bytes"),
        ("metric", "accuracy", "metric"),
        ("min_effect", 0, "min_effect"),
        ("min_effect", math.nan, "min_effect"),
        ("min_effect", "0.01", "min_effect"),
        ("paired_sd", math.inf, "paired_sd"),
        ("paired_sd", 10**400, "paired_sd"),
        ("unpaired_sd", -1.0, "unpaired_sd"),
        ("max_pairs", 33, "max_pairs"),
        ("hardware", ["cpu;threads=2"], "hardware[0]"),
        ("hardware", ["cpu", "cpu"], "hardware"),
        ("precision", "fp8", "precision"),
        ("sandbox_level", "none", "sandbox_level"),
        ("is_confirmed_on_second_class", 0, "is_confirmed_on_second_class"),
    ],
)
def test_refuses_and_names_the_field(field: str, value: object, param: str) -> None:
    with pytest.raises(MalformedSpec) as refused:
        terms.spec(**{field: value})
    assert refused.value.param == param


def test_refuses_unknown_and_missing_fields() -> None:
    with pytest.raises(MalformedSpec, match="unknown"):
        terms.spec(price=5)
    short = terms.spec_json()
    del short["steps"]
    with pytest.raises(MalformedSpec) as refused:
        Spec.from_json(short)
    assert refused.value.param == "steps"


def test_refuses_more_checkpoints_than_a_report_holds() -> None:
    assert terms.spec(steps=1000, checkpoint_every=1).segments == 1000
    with pytest.raises(MalformedSpec):
        terms.spec(steps=1001, checkpoint_every=1)


def test_takes_a_tokenizer_with_its_byte_counts() -> None:
    asset = terms.data_file("asset", "4", name="token-bytes.json")
    spec = terms.spec(vocabulary=8192, token_bytes="token-bytes.json", data=[*_FILES, asset])
    assert spec.token_bytes == "token-bytes.json"


@given(terms.JSON)
def test_raises_nothing_else(value: object) -> None:
    with pytest.raises(MalformedSpec):
        Spec.from_json(value)


@given(st.sampled_from(sorted(terms.spec_json())), terms.JSON)
def test_one_hostile_field_is_refused_or_read_back(field: str, value: object) -> None:
    try:
        spec = terms.spec(**{field: value})
    except MalformedSpec:
        return
    assert Spec.from_json(spec.to_json()).digest == spec.digest
