"""The line of a task's candidates: it ..."""

import datetime

import pytest

from tasks import clock
from tests import people
from tests.verification.research import scenes
from verification.replay import trees as shapes
from verification.research import candidates, reasons, rejudging, rules, tips
from verification.research.models import Candidate, ResearchTask, Run

pytestmark = pytest.mark.django_db
_Status = Candidate.Status


def waiting(task: ResearchTask, edited: dict[str, str]) -> Candidate:
    """Return a candidate that has passed its smoke run and looks whether it is its turn."""
    candidate = scenes.submit(task, edited=edited)
    scenes.advance(candidate)
    scenes.work_pool()
    return scenes.advance(candidate)


def test_replays_one_at_a_time_in_the_order_of_receipt() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first, second = scenes.begin(task, 1.50), scenes.begin(task, 1.40)
    assert (first.status, second.status) == (_Status.REPLAYING, _Status.WAITING)
    assert set(Run.objects.values_list("candidate", flat=True)) == {first.pk}
    assert scenes.play(first, machines).status == _Status.REJECTED
    assert scenes.play(second, machines).status == _Status.ACCEPTED


def test_waits_for_an_announced_candidate_until_its_time_is_over() -> None:
    task = scenes.post()
    scenes.open_host()
    ends_at = clock.now() + datetime.timedelta(minutes=5)
    slow = people.open_user("slow")
    candidates.announce(task=task, claimant=slow, sealed_sha256="a" * 64, now=ends_at - rules.REVEAL_WITHIN)
    second = scenes.begin(task)
    assert second.status == _Status.WAITING
    assert scenes.advance(second, now=ends_at - datetime.timedelta(microseconds=1)).status == _Status.WAITING
    assert scenes.advance(second, now=ends_at).status == _Status.REPLAYING


def test_rebases_on_the_tip_that_came_in_between() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.submit(task, edited={"train.py": scenes.BASE["train.py"].replace("1.50", "1.40")})
    second = waiting(task, {"train.py": scenes.BASE["train.py"].replace("DEPTH = 2", "DEPTH = 3")})
    scenes.play(first, machines)
    assert first.status == _Status.ACCEPTED
    scenes.advance(second)
    assert (second.status, second.rebase_count, second.parent_id) == (_Status.SMOKE, 1, tips.current(task).pk)
    assert second.tree_id != second.sent_tree_id
    assert second.tree is not None
    assert second.tree.untrusted_files["train.py"] == "SCORE = 1.40\n\n\n\nWIDTH = 64\n\n\n\nDEPTH = 3\n"
    # It is judged by what it adds to the tip, and that is nothing.
    assert scenes.play(second, machines).reason_code == reasons.NO_GAIN


def test_rejects_what_conflicts_with_the_tip_or_adds_nothing_to_it() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.submit(task, edited={"train.py": scenes.BASE["train.py"].replace("1.50", "1.40"), "extra.py": "A = 1\n"})
    same_line = waiting(task, {"train.py": scenes.BASE["train.py"].replace("1.50", "1.30")})
    part = waiting(task, {"extra.py": "A = 1\n"})
    other_new = waiting(task, {"extra.py": "A = 2\n"})
    scenes.play(first, machines)
    assert first.status == _Status.ACCEPTED
    for candidate, code in ((same_line, "rebase_conflict"), (part, "nothing_new"), (other_new, "rebase_conflict")):
        scenes.advance(candidate)
        assert (candidate.status, candidate.reason_code) == (_Status.REJECTED, code)
    assert tips.current(task).number == 1


def test_does_not_let_a_later_copy_of_its_rebased_tree_take_its_place() -> None:
    """Who sees the tip move can foretell what an open commit becomes on it, and send just that."""
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.submit(task, edited={"train.py": scenes.BASE["train.py"].replace("1.50", "1.40")})
    second = waiting(task, {"train.py": scenes.BASE["train.py"].replace("DEPTH = 2", "DEPTH = 3")})
    scenes.play(first, machines)
    copied = {"train.py": "SCORE = 1.40\n\n\n\nWIDTH = 64\n\n\n\nDEPTH = 3\n"}
    copy = scenes.submit(task, edited=copied)
    assert copy.sent_tree_id == shapes.tree_digest(shapes.apply(tips.current(task).tree.untrusted_files, copied))
    scenes.play(second, machines)
    assert second.tree_id == copy.sent_tree_id
    assert second.reason_code == reasons.NO_GAIN
    assert scenes.play(copy, machines).reason_code == reasons.DUPLICATE_TREE


def test_goes_back_to_the_tip_before_when_one_is_withdrawn_under_it() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.play(scenes.begin(task, edited={"train.py": scenes.BASE["train.py"].replace("1.50", "1.40")}), machines)
    second = scenes.begin(task, edited={"train.py": first.tree.untrusted_files["train.py"].replace("DEPTH = 2", "DEPTH = 3")})  # type: ignore[union-attr]
    [run] = scenes.lease(machines[0])
    assert second.status == _Status.REPLAYING
    found = rejudging.rejudge(check_name="tricks", check_version=1, judge=lambda _: "evaluation_failed", now=clock.now())
    assert [candidate.pk for candidate in found.fallen] == [first.pk]
    scenes.advance(second)
    assert (second.status, second.parent_id, second.test, second.class_text) == (_Status.SMOKE, tips.current(task).pk, None, "")
    assert tips.current(task).number == 0
    assert second.tree.untrusted_files["train.py"] == scenes.BASE["train.py"].replace("DEPTH = 2", "DEPTH = 3")  # type: ignore[union-attr]
    run.refresh_from_db()
    assert (run.stage, run.reason_code) == (Run.Stage.CANCELLED, reasons.NOT_NEEDED)
