"""A case that the first checks leave open."""

import pytest

from tests.verification import scenes
from verification.models import Case, CheckRun, VisionRun

pytestmark = pytest.mark.django_db


def test_asks_for_readings_of_each_photo_once() -> None:
    submission = scenes.hand_in()
    case = scenes.advance(submission)
    assert case.stage == Case.Stage.VISION, list(CheckRun.objects.values("check_name", "outcome", "reason_code", "facts"))
    run = VisionRun.objects.get(case=case)
    assert run.params == {"phrases": ["the cup"]}
    scenes.advance(submission)
    assert VisionRun.objects.filter(case=case).count() == 1
    case = scenes.read(submission)
    print(case.stage, list(CheckRun.objects.values("check_name", "outcome", "reason_code", "facts", "cost_ms")))
