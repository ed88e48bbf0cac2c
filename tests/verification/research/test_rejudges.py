"""Checks that are found later: accepted commits ..."""

import pytest

from tasks import clock
from tests.verification.research import scenes
from verification.research import rejudging, tips
from verification.research.models import Candidate, Finding

pytestmark = pytest.mark.django_db


def chain() -> list[Candidate]:
    """Return two accepted commits, the second on the first."""
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.play(scenes.begin(task, edited=scenes.edit(1.40, mark="first")), machines)
    base = tips.current(task).tree.untrusted_files
    second = scenes.play(scenes.begin(task, edited=scenes.edit(1.30, base, mark="second")), machines)
    assert [first.status, second.status] == [Candidate.Status.ACCEPTED] * 2
    return [first, second]


def test_fall_one_by_one_and_the_tip_is_the_newest_that_stands() -> None:
    first, second = chain()

    def judge(candidate: Candidate) -> str | None:
        return "evaluation_failed" if candidate.pk == first.pk else None

    found = rejudging.rejudge(check_name="tricks", check_version=1, judge=judge, now=clock.now())
    assert (found.looked_at, [one.pk for one in found.fallen]) == (2, [first.pk])
    assert tips.current(first.task).candidate_id == second.pk, "its own verdict stands"
    assert set(Finding.objects.values_list("candidate", "is_upheld", "reason_code")) == {
        (first.pk, False, "evaluation_failed"),
        (second.pk, True, ""),
    }
    first.refresh_from_db()
    assert first.status == Candidate.Status.ACCEPTED, "what was decided then was decided"
    both = rejudging.rejudge(check_name="tricks", check_version=2, judge=lambda _: "evaluation_failed", now=clock.now())
    assert len(both.fallen) == 2
    assert tips.current(first.task).number == 0


def test_are_looked_at_once_by_each_check() -> None:
    chain()
    asked: list[Candidate] = []
    for _ in range(2):
        rejudging.rejudge(check_name="tricks", check_version=1, judge=lambda candidate: asked.append(candidate), now=clock.now())
    assert len(asked) == 2


def test_are_looked_at_from_where_it_was_cut_off() -> None:
    first, second = chain()

    def dies(candidate: Candidate) -> str | None:
        if candidate.pk == second.pk:
            raise RuntimeError("killed")
        return None

    with pytest.raises(RuntimeError):
        rejudging.rejudge(check_name="tricks", check_version=1, judge=dies, now=clock.now())
    assert Finding.objects.get().candidate_id == first.pk
    found = rejudging.rejudge(check_name="tricks", check_version=1, judge=lambda _: None, now=clock.now())
    assert (found.looked_at, found.fallen) == (1, ())
