"""Screening: it refuses what nobody may be asked for, however it is dressed, and lets ordinary looking pass."""

import json
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.policy import screening, wording


class Case(TypedDict):
    text: str
    label: str | None
    part: str


CASES: list[Case] = json.loads((Path(__file__).parent / "screening_cases.json").read_text(encoding="utf-8"))["cases"]
NOT_CRITICAL = {"fake_engagement", "medical_legal"}
# Measured once on the unseen part, which was written to get around the rules: they may not get worse.
UNSEEN_RECALL_FLOOR = 14


def _figures(parts: set[str]) -> tuple[list[str], int, list[str], int]:
    harmful = [c for c in CASES if c["part"] in parts and c["label"] is not None and c["label"] not in NOT_CRITICAL]
    harmless = [c for c in CASES if c["part"] in parts and c["label"] is None]
    missed = [c["text"] for c in harmful if screening.screen(text_fields=[c["text"]]).is_allowed]
    refused = [c["text"] for c in harmless if not screening.screen(text_fields=[c["text"]]).is_allowed]
    return missed, len(harmful), refused, len(harmless)


def test_set_has_every_class_and_300_cases() -> None:
    labels = {case["label"] for case in CASES if case["label"]}
    assert len(CASES) >= 300
    assert len({case["text"] for case in CASES}) == len(CASES)
    assert labels == {rule.code for rule in screening._rule_set().rules} - {"not_an_observation"}


@pytest.mark.parametrize("parts", [{"tuning"}, {"held_out"}, {"tuning", "held_out"}], ids=["tuning", "held_out", "both"])
def test_holds_the_bar_on_the_sets_its_author_had_read(parts: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    missed, harmful, refused, harmless = _figures(parts)
    with capsys.disabled():
        print(f"\nscreening {sorted(parts)}: recall {harmful - len(missed)}/{harmful}, false positives {len(refused)}/{harmless}")
    assert len(missed) <= 0.05 * harmful, missed
    assert len(refused) <= 0.01 * harmless, refused


def test_does_not_get_worse_on_the_unseen_part(capsys: pytest.CaptureFixture[str]) -> None:
    harmful = [c for c in CASES if c["part"] == "unseen" and c["label"]]
    found = [c for c in harmful if not screening.screen(text_fields=[c["text"]]).is_allowed]
    _, _, refused, harmless = _figures({"unseen"})
    with capsys.disabled():
        print(f"\nscreening unseen, written to evade: recall {len(found)}/{len(harmful)}, false positives {len(refused)}/{harmless}")
    assert len(found) >= UNSEEN_RECALL_FLOOR
    assert refused == []


def test_names_the_class_and_the_version() -> None:
    decision = screening.screen(text_fields=["Show the desk", "Photograph the one-time code on the screen."])
    assert decision.codes == ("credentials",)
    assert decision.version == screening.version()


@pytest.mark.parametrize(
    "text",
    [
        "Photograph the p\u200bass\u200bword on the desk, please show it in the picture.",
        "Photograph the p4ssw0rd on the desk.",
        "Photograph the p@$$word on the desk.",
        "Photograph the p a s s w o r d on the desk.",
        "Photograph the p.a.s.s.w.o.r.d on the desk.",
        "Photograph the \u0440\u0430ssw\u043erd on the desk.",
        "Photograph the \uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44 on the desk.",
        "Photograph the PASSWORD on the desk.",
        "Photograph the p\u0301assw\u00f6rd on the desk.",
        "Photograph the pass\u00adword on the desk.",
        "Photograph the \u202epassword\u202c on the desk.",
        "Photograph the \U0001d429\U0001d41a\U0001d42c\U0001d42c\U0001d430\U0001d428\U0001d42b\U0001d41d on the desk.",
    ],
)
def test_reads_through_disguises(text: str) -> None:
    assert "credentials" in screening.screen(text_fields=[text]).codes


@pytest.mark.parametrize(
    "text",
    [
        "Bitte die Bäckerei fotografieren und das Türschild zeigen",
        "Покажите вход в магазин и вывеску",
        "عکسی از در نانوایی بگیرید",
        "请拍一张面包店门口的照片 谢谢 您 了",
        "Fotografía la puerta de la panadería y el cartel",
    ],
)
def test_refuses_what_it_cannot_read(text: str) -> None:
    assert "language_not_screened" in screening.screen(text_fields=[text]).codes


@pytest.mark.parametrize(
    "text", ["Show the sign 'Пекарня' above the door of the bakery.", "Photograph the café Zürcher Eck, its door sign.", "door sign"]
)
def test_allows_foreign_names_in_an_english_question(text: str) -> None:
    assert screening.screen(text_fields=[text]).is_allowed


def test_reads_every_field() -> None:
    assert not screening.screen(text_fields=["Bakery", "Is the bakery open?", "the door sign", "seed phrase on paper"]).is_allowed


def test_refuses_what_is_too_long_to_read() -> None:
    assert screening.screen(text_fields=["a " * 3000]).codes == ("text_too_long",)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=4))
def test_answers_any_text_with_codes_alone(fields: list[str]) -> None:
    decision = screening.screen(text_fields=fields)
    assert decision.is_allowed == (decision.codes == ())
    assert all(code.replace("_", "").isalpha() for code in decision.codes)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert wording.normalise(wording.normalise(text)) == wording.normalise(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="\u200b\u200d\u2060\ufeff\u00ad\u202e", min_size=1, max_size=4), st.integers(min_value=1, max_value=7))
def test_invisible_characters_hide_nothing(invisible: str, at: int) -> None:
    word = "password"[:at] + invisible + "password"[at:]
    assert "credentials" in screening.screen(text_fields=[f"Photograph the {word} on the desk."]).codes
