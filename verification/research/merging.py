"""A candidate's changes put on a newer tip: three trees in, one out, or a conflict. Lines are compared, nothing is run."""

import collections
from collections.abc import Mapping

import merge3

# difflib's worst case is cubic: beyond these a stranger's text could keep a worker busy for minutes.
MAX_LINES = 6_000
MAX_PAIRS = 20_000


class Conflict(Exception):
    """Both sides changed the same lines, or so much that they are not compared."""


def merge(*, base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Return ``ours`` with what ``theirs`` changed in ``base``, as {path: text}. No tree can lack a path of the base.

    Raises:
        Conflict
    """
    merged = dict(ours)
    for path, text in theirs.items():
        if text != base.get(path):
            merged[path] = _merged(base.get(path), ours.get(path), text)
    return merged


def _merged(base: str | None, ours: str | None, theirs: str) -> str:
    if ours in (base, theirs):
        return theirs
    if base is None or ours is None:
        # Both added the file, with different text.
        raise Conflict
    before, left, right = (text.splitlines(keepends=True) for text in (base, ours, theirs))
    if not (_is_quick(before, left) and _is_quick(before, right)):
        raise Conflict
    lines: list[str] = []
    for group in merge3.Merge3(before, left, right).merge_groups():
        if group[0] == "conflict":
            raise Conflict
        lines += group[1]
    return "".join(lines)


def _is_quick(first: list[str], second: list[str]) -> bool:
    counts = collections.Counter(second)
    # difflib leaves out what stands often in a long file, such as empty lines.
    popular = 1 + len(second) // 100 if len(second) >= 200 else len(second)
    pairs = sum(counts[line] for line in first if counts[line] <= popular)
    return len(first) + len(second) <= MAX_LINES and pairs <= MAX_PAIRS
