"""A class key is one line, and every key has one spelling."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay.classes import ClassKey, MalformedClassKey

_H100 = ClassKey("NVIDIA H100 80GB HBM3", "2.13.0+cu128", "sm_90", 1, "bf16", is_compiled=True, driver="570.86.15")


@pytest.mark.parametrize("key", [terms.CPU, _H100])
def test_reads_back_what_it_writes(key: ClassKey) -> None:
    assert ClassKey.parse(key.text) == key


def test_says_what_the_bits_depend_on() -> None:
    assert terms.CPU.text == "hardware=cpu;torch=2.13.0+cpu;isa=AVX2;threads=1;precision=fp32;compiled=no;driver=none"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpu",
        terms.CPU.text + "\n",
        terms.CPU.text + ";x=1",
        terms.CPU.text.replace("threads=1", "threads=01"),
        terms.CPU.text.replace("threads=1", "threads=0"),
        terms.CPU.text.replace("threads=1", "threads=\u0661"),
        terms.CPU.text.replace("compiled=no", "compiled=maybe"),
        terms.CPU.text.replace("fp32", "fp16"),
        terms.CPU.text.replace("AVX2", "AVX2 "),
        terms.CPU.text.replace("isa=AVX2;", ""),
        terms.CPU.text.upper(),
        "x" * 10_000_000,
    ],
)
def test_refuses_any_other_spelling(text: str) -> None:
    with pytest.raises(MalformedClassKey):
        ClassKey.parse(text)


@given(st.text(max_size=60) | st.text("hardwe=cpu;torc.12 +", max_size=120))
def test_raises_nothing_else(text: str) -> None:
    with pytest.raises(MalformedClassKey):
        ClassKey.parse(text)


def test_counts_for_specs_that_name_its_family_and_precision() -> None:
    assert terms.CPU.is_allowed_by(terms.spec())
    assert not _H100.is_allowed_by(terms.spec())
    assert not dataclasses.replace(terms.CPU, precision="bf16").is_allowed_by(terms.spec())
