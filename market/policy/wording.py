"""Text as screening reads it: folded, stripped of what can't be seen, with simple disguises taken off."""

import re
import unicodedata
from typing import Final

# Letters of other scripts that look like Latin ones (a light choice from Unicode's confusables.txt).
_LOOKALIKES: Final = str.maketrans(
    "аәвгдеёзиіїјкмнорсԁтуүхһѕԛԝьαβγδεζηικμνοπρστυχωɡıℓƒ",
    "aabrdeezniijkmhopcdtyyxhsqwbabydeznikuvonpotuxwgilf",
)
_DIGITS_AS_LETTERS: Final = str.maketrans("013456789@$!|+", "oieasbtbgasilt")
_ONE_AS_L: Final = str.maketrans("013456789@$!|+", "oleasbtbgasllt")
# A letter, then at least three more single letters, each after a space, dot, dash or star.
_SPACED: Final = re.compile(r"(?<![^\W_])[^\W\d_](?:[ .*_-]{1,2}[^\W\d_](?![^\W_])){3,}")
_TOKEN: Final = re.compile(r"[\w@$!|+]+")
_SENTENCE_END: Final = re.compile(r"[.!?;:\n]+(?:\s+|$)")
# Control, format (zero-width, bidirectional), surrogate, private use, unassigned.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACE: Final = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Fold case, width and accents; drop what draws nothing or reorders; read look-alike letters as Latin in mixed words."""
    compatible = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in compatible if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    bare = "".join(c for c in unicodedata.normalize("NFKD", visible.casefold()) if unicodedata.category(c) != "Mn")
    return _SPACE.sub(" ", bare).strip()


def readings(text: str) -> list[str]:
    """Return five readings: the normalised text, then what it says once disguises are taken off: spaced, look-alike and leet letters."""
    plain = normalise(text)
    joined = _SPACED.sub(lambda match: re.sub(r"[ .*_-]", "", match.group()), plain)
    latin = _TOKEN.sub(_to_latin, joined)
    return [plain, joined, latin, _unleet(latin, _DIGITS_AS_LETTERS), _unleet(latin, _ONE_AS_L)]


def sentences(text: str) -> list[str]:
    """Split a normalised text where sentences end."""
    return [part for part in (piece.strip() for piece in _SENTENCE_END.split(text)) if part]


def words(text: str) -> list[str]:
    """Return the runs of letters in a normalised text."""
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.replace("\u2019", "'"))


def latin_share(text: str) -> float:
    """Return which part of the letters is Latin; 1.0 for a text without letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(unicodedata.name(c, "").startswith("LATIN") for c in letters) / len(letters) if letters else 1.0


def _to_latin(match: re.Match[str]) -> str:
    return match.group().translate(_LOOKALIKES)


def _unleet(text: str, table: dict[int, int]) -> str:
    # Only words that hold letters too: "24" stays a number, "p4ssw0rd" does not.
    return _TOKEN.sub(lambda match: match.group().translate(table) if any(c.isalpha() for c in match.group()) else match.group(), text)
