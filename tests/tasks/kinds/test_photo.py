"""The terms of a photo task: they ..."""

import datetime

import pytest
from pydantic import ValidationError

from tasks.kinds import photo

OPENS = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


def terms(**changes: object) -> photo.PhotoTerms:
    given: dict[str, object] = {
        "question": "Is the bakery open? Show the door sign.",
        "latitude": 52.52,
        "longitude": 13.405,
        "within_m": 50,
        "opens_at": OPENS,
        "closes_at": OPENS + datetime.timedelta(hours=2),
        "max_false_accept": 0.01,
    }
    return photo.PhotoTerms.model_validate({**given, **changes})


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("Is the bakery open? Show the door sign.", "the door sign"),
        ("Show me a photo of the bus stop.", "the bus stop"),
        ("Please take a clear photo of the menu!", "the menu"),
        ("Show the door. Then show the menu.", "the door"),
        ("How long is the queue at the ferry?", "How long is the queue at the ferry"),
        ("Show " + "x" * 300, "x" * 120),
    ],
)
def test_say_what_a_photo_must_show(question: str, phrase: str) -> None:
    assert photo.phrase_of(question) == phrase
    assert terms(question=question).must_show == [phrase]


def test_publish_every_criterion_they_are_judged_by() -> None:
    found = photo.criteria(terms(must_show=["the door sign", "the street"]))
    assert [criterion.code for criterion in found] == [
        "in_place",
        "in_time",
        "sharp",
        "exposed",
        "large_enough",
        "original",
        "shows:0",
        "shows:1",
    ]
    assert found[0].text == "Taken within 50 m of the place."
    assert found[-1].text == "It shows: the street"


def test_hash_the_same_after_a_way_through_json() -> None:
    first = terms()
    again = photo.PhotoTerms.model_validate(first.model_dump(mode="json"))
    assert photo.terms_hash(first, {"reward_minor": 1000}) == photo.terms_hash(again, {"reward_minor": 1000})


def test_hash_differently_after_any_change() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"within_m": 51},
        {"latitude": 52.5201},
        {"must_show": ["the door"]},
        {"task_time_s": 601},
        {"max_false_accept": 0.011},
        {"closes_at": OPENS + datetime.timedelta(hours=3)},
    ]
    hashes = {photo.terms_hash(terms(**change), {"reward_minor": 1000}) for change in changes}
    hashes.add(photo.terms_hash(terms(), {"reward_minor": 1001}))
    assert len(hashes) == len(changes) + 1


def test_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        terms().within_m = 60  # type: ignore[misc]


def test_need_a_window() -> None:
    with pytest.raises(ValidationError, match="60 seconds"):
        terms(closes_at=OPENS + datetime.timedelta(seconds=59))
    with pytest.raises(ValidationError):
        terms(closes_at=datetime.datetime(2026, 5, 1, 14))  # noqa: DTZ001 - without its offset
