"""A tree has one spelling and one digest, and its diff shows all of it."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verification.replay import terms
from verification.replay import trees

_PATHS = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}\.py", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t\\\"'"), max_size=30)
_TREES = st.dictionaries(_PATHS, _TEXTS, min_size=1, max_size=5)


def test_a_digest_is_that_of_the_bytes_sent() -> None:
    content = b'{"model.py":"WIDTH = 64\\n","train.py":"RATE = 3e-3\\n"}'
    assert trees.canonical_bytes(terms.BASE) == content
    assert trees.tree_digest(terms.BASE) == hashlib.sha256(content).hexdigest()


@given(_TREES)
def test_reads_back_what_it_writes(files: dict[str, str]) -> None:
    assert trees.parse_tree(trees.canonical_bytes(files)) == files


@pytest.mark.parametrize(
    "content",
    [
        b'{"train.py": ""}',
        b'{"b.py":"","a.py":""}',
        b'{"train.py":"\\u00e9"}',
        b'{"train.py":"\\/"}',
        b'{"train.py":"","train.py":""}',
        b'{"train.py":"\\u0000"}',
        b'{"train.py":"\\ud800"}',
        b'{"train.py":"\\r"}',
        b'{"train.py":1}',
        b'{"../train.py":""}',
        b'{"/train.py":""}',
        b'{"a//b.py":""}',
        b'{"a/./b.py":""}',
        b'{".git":""}',
        b'{"-rf":""}',
        b'{"a.py":"","A.py":""}',
        b'{"a":"","a/b.py":""}',
        b'{"a.py\\n":""}',
        b"{}",
        b"[]",
        b"null",
        b'{"train.py":"' + b"x" * 1_000_001 + b'"}',
        json.dumps({f"f{index}.py": "" for index in range(257)}, separators=(",", ":"), sort_keys=True).encode(),
    ],
)
def test_refuses_what_is_no_tree_or_spelled_otherwise(content: bytes) -> None:
    with pytest.raises(trees.MalformedTree):
        trees.parse_tree(content)


@given(st.binary(max_size=60) | terms.JSON.map(lambda value: json.dumps(value).encode()))
def test_raises_nothing_else(content: bytes) -> None:
    try:
        files = trees.parse_tree(content)
    except trees.MalformedTree:
        return
    assert trees.canonical_bytes(files) == content


@given(_TREES, st.data())
def test_a_flipped_byte_is_refused_or_another_tree(files: dict[str, str], data: st.DataObject) -> None:
    content = bytearray(trees.canonical_bytes(files))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = trees.parse_tree(bytes(content))
    except trees.MalformedTree:
        return
    assert changed != files


def test_the_largest_tree_fits_its_bytes() -> None:
    files = {"train.py": "\n" * trees.MAX_TREE_BYTES}
    assert len(trees.canonical_bytes(files)) <= trees.MAX_CANONICAL_BYTES
    assert trees.parse_tree(trees.canonical_bytes(files)) == files


@given(_TREES, _TREES)
def test_edits_replace_and_add(base: dict[str, str], edited: dict[str, str]) -> None:
    after = trees.apply(base, edited)
    assert after == base | edited
    assert list(after) == sorted(after)


def test_the_diff_is_a_unified_one() -> None:
    edited = {"train.py": "RATE = 4e-3\n", "new.py": "X = 1"}
    assert trees.diff_text(terms.BASE, edited) == (
        "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+X = 1\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-RATE = 3e-3\n+RATE = 4e-3\n"
    )
    assert trees.diff_text(terms.BASE, terms.BASE) == ""


@given(_TEXTS, _TEXTS)
def test_every_changed_line_stands_in_the_diff(before: str, after: str) -> None:
    lines = trees.diff_text({"a.py": before}, {"a.py": after}).split("\n")
    gone = set(before.split("\n")) - set(after.split("\n"))
    come = set(after.split("\n")) - set(before.split("\n"))
    assert {f"-{line}" for line in gone if line} <= set(lines)
    assert {f"+{line}" for line in come if line} <= set(lines)


def test_a_diff_made_to_be_slow_shows_whole_lines() -> None:
    # Many lines that are each in many places: difflib would compare for hours, so the middle is shown as replaced.
    before = "same\n" + "".join(f"{index % 997}\n" for index in range(200_000))
    after = "same\n" + "".join(f"{index % 991}\n" for index in range(200_000))
    lines = trees.diff_text({"a.py": before}, {"a.py": after}).split("\n")
    assert lines[:3] == ["--- a/a.py", "+++ b/a.py", f"@@ -993,{200_001 - 992} +993,{200_001 - 992} @@"]
