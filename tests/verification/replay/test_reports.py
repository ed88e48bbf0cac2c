"""A report is read strictly, and its seal hides and binds it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay import digests, reports
from verification.replay.reports import MalformedReport, Report

SALT = "0f" * 32


def test_reads_back_what_it_writes() -> None:
    report = terms.report()
    assert Report.parse(report.canonical()) == report
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("run_id", "rpl 1", "run_id"),
        ("run_id", "<script>", "run_id"),
        ("spec_digest", "a" * 65, "spec_digest"),
        ("seed", -1, "seed"),
        ("seed", 1 << 63, "seed"),
        ("seed", 1.0, "seed"),
        ("class_text", "cpu", "class_text"),
        ("class_text", terms.CPU.text + "\u2028", "class_text"),
        ("root", "0" * 64, "root"),
        ("leaf_count", 12, "leaves"),
        ("leaf_count", 1, "leaf_count"),
        ("leaves", ["0" * 64] * 1002, "leaves"),
        ("leaves", ["0" * 63] * 11, "leaves[0]"),
        ("norms", [0.1] * 9, "norms"),
        ("norms", [*[0.1] * 9, math.nan], "norms[9]"),
        ("norms", [*[0.1] * 9, -0.1], "norms[9]"),
        ("norms", [*[0.1] * 9, 10**400], "norms[9]"),
        ("tokens_served", True, "tokens_served"),
        ("wall_s", math.inf, "wall_s"),
        ("cpu_s", "3", "cpu_s"),
        ("peak_memory_bytes", -1, "peak_memory_bytes"),
        ("sandbox_level", "none", "sandbox_level"),
        ("runner_version", "1.0; rm -rf /", "runner_version"),
        ("curve", [[0, 1.0]] * 201, "curve"),
        ("curve", [[0, math.nan]], "curve[0]"),
        ("curve", [[0, 1.0, "x"]], "curve[0]"),
        ("curve", [{"step": 0}], "curve[0]"),
        ("curve", [[5, 1.0], [5, 1.0]], "curve"),
        ("curve", [[201, 1.0]], "curve"),
        ("curve", [[0.5, 1.0]], "curve[0]"),
    ],
)
def test_refuses_and_names_the_field(field: str, value: object, param: str) -> None:
    with pytest.raises(MalformedReport) as refused:
        terms.report(**{field: value})
    assert refused.value.param == param


def test_refuses_unknown_fields_and_too_many_bytes() -> None:
    with pytest.raises(MalformedReport):
        terms.report(score=0.1)
    with pytest.raises(MalformedReport):
        Report.parse(terms.report().canonical() + b" " * reports.MAX_REPORT_BYTES)


def test_the_longest_report_fits() -> None:
    leaves = ["f" * 64] * 1001
    root = digests.root([bytes.fromhex(leaf) for leaf in leaves]).hex()
    curve = [[index, -123456.78901234567] for index in range(200)]
    norms = [0.12345678901234567e-5] * 1000
    assert len(terms.report(leaves=leaves, leaf_count=1001, norms=norms, root=root, curve=curve).canonical()) <= reports.MAX_REPORT_BYTES


@given(st.binary(max_size=100) | terms.JSON.map(lambda value: json.dumps(value).encode()))
def test_raises_nothing_else(content: bytes) -> None:
    with pytest.raises(MalformedReport):
        Report.parse(content)


@given(st.sampled_from(sorted(terms.report_json())), terms.JSON)
def test_one_hostile_field_is_refused_or_read_back(field: str, value: object) -> None:
    try:
        report = terms.report(**{field: value})
    except MalformedReport:
        return
    assert Report.parse(report.canonical()) == report


@given(st.data())
def test_a_flipped_byte_is_refused_or_another_report(data: st.DataObject) -> None:
    report = terms.report()
    content = bytearray(report.canonical())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = Report.parse(bytes(content))
    except MalformedReport:
        return
    assert changed == report or not reports.is_sealed_by(reports.seal(report, SALT), changed, SALT)


def test_a_seal_binds_report_and_salt() -> None:
    report = terms.report()
    sealed = reports.seal(report, SALT)
    assert reports.is_sealed_by(sealed, report, SALT)
    assert not reports.is_sealed_by(sealed, terms.report(seed=7), SALT)
    assert not reports.is_sealed_by(sealed, report, "0e" * 32)
    assert not reports.is_sealed_by("\u00e9", report, SALT)


def test_two_owners_of_one_report_have_different_seals() -> None:
    first, second = reports.new_salt(), reports.new_salt()
    assert first != second
    assert reports.seal(terms.report(), first) != reports.seal(terms.report(), second)


@pytest.mark.parametrize("salt", ["", "0f", "0F" * 32, "0f" * 65, "zz" * 32])
def test_refuses_a_salt_that_hides_nothing(salt: str) -> None:
    with pytest.raises(MalformedReport):
        reports.seal(terms.report(), salt)
