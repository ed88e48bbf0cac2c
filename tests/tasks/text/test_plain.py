"""Text that people and models will read: it ..."""

import pytest

from tasks import text


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\n",
        "\t",
        "\x1b",
        "\u00ad",
        "\u034f",
        "\u061c",
        "\u115f",
        "\u180e",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u200e",
        "\u2028",
        "\u202e",
        "\u2060",
        "\u2066",
        "\u2800",
        "\u3164",
        "\ud800",
        "\ue000",
        "\ufe00",
        "\ufeff",
        "\uffa0",
        "\uffff",
        "\U000e0041",
        "\U000e0101",
    ],
)
def test_is_refused_and_stripped_of_what_cannot_be_seen(character: str) -> None:
    with pytest.raises(text.ForbiddenCharacter, match=f"{ord(character):04X}"):
        text.require_plain(f"the{character}door")
    assert text.strip_to_plain(f"the{character}door", max_length=20) in ("thedoor", "the door")


@pytest.mark.parametrize("words", ["Ist die Tür offen?", "آیا می\u200cتوان در را دید؟", "店は開いていますか。", "Café ☕️ open?", "a²+b²"])  # noqa: RUF001
def test_keeps_every_script_as_it_is_spelt(words: str) -> None:
    assert text.require_plain(words) == words
    assert text.strip_to_plain(words, max_length=100) == words


def test_is_written_in_one_form() -> None:
    assert text.require_plain("  Cafe\u0301 ") == "Café"


def test_is_cut_to_its_length() -> None:
    assert text.strip_to_plain("x" * 600, max_length=500) == "x" * 500
