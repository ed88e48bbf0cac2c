"""Size, sharpness and light, on real photographs and on spoilt ones."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.verification import photographs
from tests.verification.checks import facts
from verification import pictures
from verification.checks import exposure, sharpness, size
from verification.checks.result import Outcome, PhotoFacts

EVERYDAY = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "flower",
    "grass",
    "gravel",
    "motorcycle",
    "retina",
    "rocket",
    "temple",
)


def measured(raw: bytes) -> PhotoFacts:
    small = Image.open(io.BytesIO(raw)).convert("RGB")
    small.thumbnail((pictures.MEASURED_LONG_SIDE_PX,) * 2, Image.Resampling.BOX)
    luma = np.asarray(small, dtype=np.float32) @ pictures.LUMA
    light = pictures.light_of(luma)
    return facts.photo(sharpness=pictures.sharpness_of(luma), dark_level=light.low, bright_level=light.high, burnt_share=light.bright_share)


@pytest.mark.parametrize("name", EVERYDAY)
def test_passes_real_photographs(name: str) -> None:
    case = facts.honest(photos=(measured(photographs.snap(name)),))
    assert [check(case).outcome for check in (sharpness.check, exposure.check)] == [Outcome.PASS] * 2


@pytest.mark.parametrize("name", EVERYDAY)
def test_names_what_is_wrong_with_spoilt_ones(name: str) -> None:
    unsharp = sharpness.check(facts.honest(photos=(measured(photographs.blurred(name)),)))
    assert (unsharp.criterion, unsharp.outcome, unsharp.reason_code) == ("sharp", Outcome.FAIL, "blurred")
    night = exposure.check(facts.honest(photos=(measured(photographs.dark(name)),)))
    assert (night.criterion, night.outcome, night.reason_code) == ("exposed", Outcome.FAIL, "too_dark")


def test_names_too_much_light() -> None:
    burnt = photographs.jpeg(photographs.photo("coffee").point(lambda level: min(255, level + 230)), long_side_px=1280)
    assert exposure.check(facts.honest(photos=(measured(burnt),))).reason_code == "too_bright"


@pytest.mark.parametrize(("colour", "failed"), [("black", exposure), ("white", exposure), ("grey", sharpness)])
def test_fails_a_plain_picture_by_the_one_reason_that_helps(colour: str, failed: object) -> None:
    flat = facts.honest(photos=(measured(photographs.jpeg(Image.new("RGB", (640, 480), colour))),))
    assert [check for check in (exposure, sharpness) if check.check(flat).outcome == Outcome.FAIL] == [failed]


def test_judges_the_worst_of_several_photos() -> None:
    photos = (facts.PHOTO, facts.photo(width_px=400, sharpness=2.0))
    assert size.check(facts.honest(photos=photos)).outcome == Outcome.FAIL
    assert sharpness.check(facts.honest(photos=photos)).outcome == Outcome.FAIL


@pytest.mark.parametrize(("side_px", "outcome"), [(479, Outcome.FAIL), (480, Outcome.PASS)])
def test_counts_the_shorter_side_to_the_pixel(side_px: int, outcome: Outcome) -> None:
    for photo in (facts.photo(width_px=side_px, height_px=4000), facts.photo(width_px=4000, height_px=side_px)):
        assert size.check(facts.honest(photos=(photo,))).outcome == outcome


@pytest.mark.parametrize(("score", "outcome"), [(29.9, Outcome.FAIL), (30.0, Outcome.INCONCLUSIVE), (60.0, Outcome.PASS)])
def test_leaves_the_middle_open(score: float, outcome: Outcome) -> None:
    assert sharpness.check(facts.honest(photos=(facts.photo(sharpness=score),))).outcome == outcome
