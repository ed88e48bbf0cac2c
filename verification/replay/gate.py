"""What a commit may not be, told from its text alone, in milliseconds and before anything runs. What it does, the sandbox sees."""

import dataclasses
import re
import zlib
from collections.abc import Iterator, Mapping

from verification.replay import trees
from verification.replay.spec import Spec

# Opaque text, where weights would be smuggled in. Of 4,970 files of Python's libraries, torch and transformers the only ones beyond any of
# these limits were tables of code points and compiled patterns. Code never compressed better than to 0.51 of a window, text in base 16
# does to 0.57, in base 64 to 0.76; a window of code holds less than 0.2 of digits, a table of numbers more than 0.5.
WINDOW_BYTES = 4096
MAX_WINDOW_RATIO = 0.55
MAX_WINDOW_DIGITS = 0.45
MAX_LINE = 2000
MAX_RUN = 200

_RUN = re.compile(rf"[A-Za-z0-9+/_=\\-]{{{MAX_RUN},}}")
_DIGITS = bytes(range(0x30, 0x3A))
# Signs that people who read a diff do not see, or see in another order ("Trojan Source", CVE-2021-42574): C1 controls, format signs,
# line separators of Unicode, variation selectors but the one of emoji, tags, private use.
_HIDDEN = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0e\ufeff\ufff9-\ufffb"
    "\ue000-\uf8ff\U000e0000-\U0010ffff]"
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """One reason why a commit is not replayed. ``path`` is one of a tree, or ``#3`` for the third where it is none."""

    code: str
    path: str
    detail: str


def refusals(spec: Spec, base_files: Mapping[str, str], edited_files: Mapping[str, str]) -> list[Refusal]:
    """Return every reason to refuse a commit, which is the full texts of the files it changes or adds; none means it may be run.

    Codes: ``malformed_path``, ``path_not_editable``, ``not_text``, ``hidden_sign``, ``opaque_text``, ``tree_too_large``,
    ``identical_tree``.
    """
    found = [refusal for index, (path, content) in enumerate(edited_files.items(), 1) for refusal in _of_file(spec, index, path, content)]
    return found or list(_of_tree(spec, base_files, edited_files))


def _of_file(spec: Spec, index: int, path: str, content: str) -> Iterator[Refusal]:
    if not trees.is_path(path):
        yield Refusal("malformed_path", f"#{index}", trees.PATH_RULE)
        return
    if path not in spec.editable:
        yield Refusal("path_not_editable", path, f"change only {', '.join(spec.editable)}")
    if len(content) > spec.max_tree_bytes:
        yield Refusal("tree_too_large", path, f"a tree has at most {spec.max_tree_bytes} bytes")
    elif not trees.is_text(content):
        yield Refusal("not_text", path, "send UTF-8 text whose only control signs are tabs and line breaks")
    else:
        yield from _hidden(path, content)
        yield from _opaque(path, content)


def _hidden(path: str, content: str) -> Iterator[Refusal]:
    sign = _HIDDEN.search(content)
    if sign:
        line = content.count("\n", 0, sign.start()) + 1
        yield Refusal("hidden_sign", path, f"line {line} has U+{ord(sign.group()):04X}, which readers of the diff do not see; leave it out")


def _opaque(path: str, content: str) -> Iterator[Refusal]:
    lines = content.split("\n")
    longest = max(range(len(lines)), key=lambda index: len(lines[index]))
    run = next((found for found in _RUN.finditer(content) if len(set(found.group())) > 8), None)
    if len(lines[longest]) > MAX_LINE:
        yield Refusal("opaque_text", path, f"line {longest + 1} is longer than {MAX_LINE} letters; break it")
    elif run:
        line = content.count("\n", 0, run.start()) + 1
        yield Refusal("opaque_text", path, f"line {line} has {MAX_RUN} letters and digits in a row, as encoded data has")
    else:
        yield from _opaque_windows(path, content.encode("utf-8"))


def _opaque_windows(path: str, encoded: bytes) -> Iterator[Refusal]:
    for start in range(0, len(encoded) - WINDOW_BYTES + 1, WINDOW_BYTES // 2):
        window = encoded[start : start + WINDOW_BYTES]
        digits = WINDOW_BYTES - len(window.translate(None, _DIGITS))
        if digits > MAX_WINDOW_DIGITS * WINDOW_BYTES or len(zlib.compress(window, 9)) > MAX_WINDOW_RATIO * WINDOW_BYTES:
            line = encoded.count(b"\n", 0, start) + 1
            yield Refusal(
                "opaque_text", path, f"the {WINDOW_BYTES} bytes from line {line} are a table of numbers or encoded data; compute them"
            )
            return


def _of_tree(spec: Spec, base_files: Mapping[str, str], edited_files: Mapping[str, str]) -> Iterator[Refusal]:
    after = trees.apply(base_files, edited_files)
    if after == dict(base_files):
        yield Refusal("identical_tree", "", "change something: the tree is the tip's")
    if sum(len(content.encode("utf-8")) for content in after.values()) > spec.max_tree_bytes:
        yield Refusal("tree_too_large", "", f"a tree has at most {spec.max_tree_bytes} bytes")
        return
    try:
        trees.canonical_bytes(after)
    except trees.MalformedTree as wrong:
        yield Refusal("malformed_path", "", wrong.message)
