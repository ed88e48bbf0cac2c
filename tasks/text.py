"""Which characters may stand in text that people and models will read: refuse them from posters, strip them from workers."""

import unicodedata

# Categories that draw nothing or steer what is drawn around them: control, format (zero-width, bidirectional, tags),
# surrogate, private use, unassigned, line and paragraph separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks that draw nothing: combining grapheme joiner, Hangul and Khmer fillers, the blank Braille pattern.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ZERO_WIDTH_NON_JOINER = "\u200c"


class ForbiddenCharacter(ValueError):
    """The text holds a character that draws nothing or reorders its neighbours; the message names it."""


def require_plain(text: str) -> str:
    """Return ``text`` trimmed, in Unicode's NFC form.

    Raises:
        ForbiddenCharacter: control, zero-width, bidirectional or other invisible characters. The zero-width
            non-joiner is allowed between two Arabic-script letters only, where Persian spelling needs it (RFC 5892, A.1).
    """
    normal = unicodedata.normalize("NFC", text.strip())
    for position, character in enumerate(normal):
        if _is_forbidden(normal, position):
            raise ForbiddenCharacter(f"Character U+{ord(character):04X} at position {position} can't be seen; write the text without it.")
    return normal


def strip_to_plain(text: str, *, max_length: int) -> str:
    """Return ``text`` without its invisible characters, cut to ``max_length``; line breaks become spaces."""
    normal = unicodedata.normalize("NFC", text.replace("\r", " ").replace("\n", " "))
    kept = "".join(character for position, character in enumerate(normal) if not _is_forbidden(normal, position))
    return kept.strip()[:max_length]


def _is_forbidden(text: str, position: int) -> bool:
    character = text[position]
    if character == _ZERO_WIDTH_NON_JOINER:
        return not (0 < position < len(text) - 1 and _is_arabic(text[position - 1]) and _is_arabic(text[position + 1]))
    if character in _BLANKS or _is_hidden_selector(character):
        return True
    return unicodedata.category(character) in _FORBIDDEN_CATEGORIES


def _is_arabic(character: str) -> bool:
    return unicodedata.name(character, "").startswith("ARABIC LETTER")


def _is_hidden_selector(character: str) -> bool:
    # Variation selectors can carry hidden bytes; U+FE0F alone is common, it asks for the coloured form of an emoji.
    return "\ufe00" <= character <= "\ufe0e" or "\U000e0100" <= character <= "\U000e01ef"
