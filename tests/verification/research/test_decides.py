"""A candidate's way through replays: it ..."""

import pytest

from tests.verification.research import scenes
from verification.research import reasons, tips
from verification.research.models import Candidate, Run

pytestmark = pytest.mark.django_db


def test_becomes_the_tip_when_its_gain_is_verified() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(task, 1.40), machines)
    assert (candidate.status, candidate.reason_code) == (Candidate.Status.ACCEPTED, reasons.GAIN_VERIFIED)
    assert candidate.gain == pytest.approx(0.1, abs=0.002)
    assert candidate.shrunk_gain is not None
    assert 0 < candidate.shrunk_gain <= candidate.gain
    tip = tips.current(task)
    assert (tip.number, tip.tree_id, tip.candidate_id) == (1, candidate.tree_id, candidate.pk)
    assert set(Run.objects.values_list("stage", flat=True)) <= {Run.Stage.VALID, Run.Stage.CANCELLED}


def test_is_rejected_when_it_gains_nothing() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(task, 1.50), machines)
    assert (candidate.status, candidate.reason_code) == (Candidate.Status.REJECTED, reasons.NO_GAIN)
    assert tips.current(task).number == 0
