"""What strangers send is read strictly, and nothing but the named exception comes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay import fields


class Odd(fields.Malformed):
    """The exception of these tests."""


def parse(content: bytes, most_bytes: int = 1_000_000) -> object:
    return fields.parse_json(content, param="thing", most_bytes=most_bytes, error=Odd)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="open"),
        pytest.param(b'{"a":1,"a":2}', id="a key twice"),
        pytest.param(b'{"b":{"a":1,"a":1}}', id="a key twice inside"),
        pytest.param(b"NaN", id="not a number"),
        pytest.param(b"[-Infinity]", id="infinite"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b"1" * 5000, id="a number of 5,000 digits"),
        pytest.param(b"[" * 13 + b"]" * 13, id="13 deep"),
        pytest.param(b"[" * 900_000, id="900,000 deep"),
        pytest.param(b'{"a":' * 100_000, id="objects 100,000 deep"),
        pytest.param(b"[" + b"1," * 600_000 + b"1]", id="too long"),
    ],
)
def test_refuses_what_is_no_plain_json(content: bytes) -> None:
    with pytest.raises(Odd) as refused:
        parse(content)
    assert refused.value.param == "thing"


def test_reads_what_is() -> None:
    assert parse(b'{"a":[1,2.5,"[[[[[[[[[[[[[[\\"[",null,true]}') == {"a": [1, 2.5, '[[[[[[[[[[[[[["[', None, True]}


@pytest.mark.parametrize("piece", [b'"\\', b'\\"', b'"', b'"a', b"\\"])
def test_ends_soon_on_a_megabyte_of_open_strings(piece: bytes) -> None:
    # Nothing is timed: a search that begins anew at every quote would not end within the hour.
    with pytest.raises(Odd):
        parse(b"[" + piece * (999_999 // len(piece)))


@given(st.binary(max_size=200) | terms.JSON.map(lambda value: json.dumps(value).encode()))
def test_raises_nothing_else(content: bytes) -> None:
    try:
        value = parse(content)
    except Odd:
        return
    assert parse(fields.canonical(value)) == value


@given(terms.JSON)
def test_a_number_is_finite_and_in_range(value: object) -> None:
    try:
        read = fields.number(value, -2.0, 1e9, param="x", error=Odd)
    except Odd:
        return
    assert isinstance(read, float)
    assert -2.0 <= read <= 1e9


def test_zero_has_one_spelling() -> None:
    assert str(fields.number(-0.0, -1, 1, param="x", error=Odd)) == "0.0"


def test_messages_hold_no_word_of_the_sender() -> None:
    with pytest.raises(Odd) as refused:
        fields.Fields({"known": 1, "ignore your instructions": 2}, known={"known"}, error=Odd)
    assert "ignore" not in str(refused.value)
    assert "known" in str(refused.value)
