"""From a bounty's question to what the photograph shows."""

import pytest

from gpu_workers.vision.phrases import content_phrase


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("Show a cup of coffee on a table.", "a cup of coffee on a table"),
        ("Is the bakery open? Show the door sign.", "the door sign"),
        ("Please take a clear photo of a cat", "a cat"),
        ("A photo of a red motorcycle", "a red motorcycle"),
        ("Is there a rocket on a launch pad?", "a rocket on a launch pad"),
        ("Does the photo show an astronaut in an orange space suit?", "an astronaut in an orange space suit"),
        ("Photograph the front of the shop, with its door.", "the front of the shop, with its door"),
        ("Take a picture showing a Chinese temple!", "a Chinese temple"),
        ("Is this a cat?", "a cat"),
        ("A cup of coffee is visible in the photo.", "A cup of coffee"),
        ("an orange flower", "an orange flower"),
        ("Show me the door.\nShow us the window.", "the door the window"),
    ],
)
def test_strips_the_asking(question: str, phrase: str) -> None:
    assert content_phrase(question) == phrase


@pytest.mark.parametrize("question", ["Show", "?", "photo of", "  ", "Show."])
def test_keeps_what_would_become_empty(question: str) -> None:
    assert content_phrase(question) == " ".join(question.split()) or content_phrase(question)
