"""A tree of source files as one thing: its bytes, digest, edits and diff. Whether an edit is allowed is `gate`'s to say."""

import collections
import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from verification.replay import fields

MAX_TREE_BYTES = 1_000_000
MAX_FILES = 256
# A line break, a tab, a quote and a backslash take two bytes in JSON; no other sign of a tree grows. Paths and signs beside.
MAX_CANONICAL_BYTES = 2 * MAX_TREE_BYTES + MAX_FILES * 210

# No part begins with a dot: `..`, `.git` and `.gitattributes` cannot be named.
PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,5}")
PATH_RULE = "give a relative path of ASCII letters, digits and _ . - with at most 6 parts of 64, none beginning with a dot or dash"
MAX_PATH = 200

MAX_DIFF_LINES = 6_000
MAX_DIFF_PAIRS = 20_000

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)|[\ud800-\udfff]")


class MalformedTree(fields.Malformed):
    """Files that are no tree: a path, a text or a size outside the published limits."""


def is_path(path: str) -> bool:
    """Tell whether a path may stand in a tree."""
    return len(path) <= MAX_PATH and PATH.fullmatch(path) is not None


def is_text(content: str) -> bool:
    """Tell whether content is text: no lone surrogates, no control signs but tab and line breaks."""
    return _CONTROL.search(content) is None


def canonical_bytes(files: Mapping[str, str]) -> bytes:
    """Write a tree as the JSON of {path: text}: sorted, without spaces, in UTF-8. One tree, one spelling.

    Raises:
        MalformedTree: a path, a text or a size is outside the limits.
    """
    for problem in _problems(files):
        raise problem
    return json.dumps(dict(files), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def tree_digest(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of a tree's canonical bytes, in hexadecimal digits.

    Raises:
        MalformedTree: as `canonical_bytes`.
    """
    return hashlib.sha256(canonical_bytes(files)).hexdigest()


def parse_tree(content: bytes) -> dict[str, str]:
    """Read canonical bytes back; another spelling of the same tree is refused, so that a digest means one tree.

    Raises:
        MalformedTree: not the canonical bytes of a tree.
    """
    found = fields.parse_json(content, param="tree", most_bytes=MAX_CANONICAL_BYTES, error=MalformedTree)
    if not isinstance(found, dict):
        raise MalformedTree("tree", "send an object of paths and texts")
    if canonical_bytes(found) != content:
        raise MalformedTree("tree", "send sorted keys, no spaces, and UTF-8 with the shortest escapes")
    return found


def apply(base: Mapping[str, str], edited: Mapping[str, str]) -> dict[str, str]:
    """Put the full texts of edited files into a base tree, sorted by path. Nothing can be deleted."""
    return dict(sorted({**base, **edited}.items()))


def diff_text(base: Mapping[str, str], edited: Mapping[str, str]) -> str:
    """Return the unified diff from the base to the tree with the edited files; empty where nothing changes.

    It is for people to read and is never applied: "No newline" marks are left out, a line simply ends. Where a finer diff
    would take long, all lines between the first and the last difference are shown as replaced.
    """
    return "".join(f"{line}\n" for path in sorted(edited) for line in _changes(path, base.get(path), edited[path]))


def _changes(path: str, before: str | None, after: str) -> Iterator[str]:
    old, new = _lines(before or ""), _lines(after)
    if not _is_quick(old, new):
        return _coarse(path, old, new)
    source = f"a/{path}" if before is not None else "/dev/null"
    return difflib.unified_diff(old, new, source, f"b/{path}", lineterm="")


def _lines(content: str) -> list[str]:
    return content.removesuffix("\n").split("\n") if content else []


def _is_quick(old: list[str], new: list[str]) -> bool:
    """Tell whether difflib, whose worst case is cubic, has little to do; it leaves out popular lines of long files."""
    if len(old) + len(new) > MAX_DIFF_LINES:
        return False
    counts = collections.Counter(new)
    popular = 1 + len(new) // 100 if len(new) >= 200 else len(new)
    return sum(counts[line] for line in old if counts[line] <= popular) <= MAX_DIFF_PAIRS


def _coarse(path: str, old: list[str], new: list[str]) -> Iterator[str]:
    same = _alike(old, new)
    tail = _alike(old[same:][::-1], new[same:][::-1])
    gone, come = old[same : len(old) - tail], new[same : len(new) - tail]
    if gone or come:
        yield from (f"--- a/{path}", f"+++ b/{path}", f"@@ -{same + 1},{len(gone)} +{same + 1},{len(come)} @@")
        yield from (f"-{line}" for line in gone)
        yield from (f"+{line}" for line in come)


def _alike(first: list[str], second: list[str]) -> int:
    """Count the equal lines that two lists begin with."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _problems(files: Mapping[str, str]) -> Iterator[MalformedTree]:
    if not 1 <= len(files) <= MAX_FILES:
        yield MalformedTree("tree", f"a tree has 1 to {MAX_FILES} files")
    size = 0
    folders: set[str] = set()
    for index, (path, content) in enumerate(files.items()):
        if not isinstance(path, str) or not is_path(path):
            yield MalformedTree(f"tree[{index}]", PATH_RULE)
        if not isinstance(content, str) or not is_text(content):
            yield MalformedTree(f"tree[{index}]", "a file is UTF-8 text without control signs")
        size += len(content.encode("utf-8"))
        folders.update(path[:place].lower() for place, sign in enumerate(path) if sign == "/")
    if size > MAX_TREE_BYTES:
        yield MalformedTree("tree", f"a tree has at most {MAX_TREE_BYTES} bytes of text")
    names = {path.lower() for path in files}
    if len(names) != len(files) or names & folders:
        yield MalformedTree("tree", "two paths may not differ by case alone, nor may one be the other's folder")
