"""A challenged candidate: it ..."""

import datetime

import pytest
from django.db.models.functions import Now

from tasks import clock
from tests.verification.research import scenes
from verification.research import challenges, reasons, rules, runs, tips
from verification.research.models import Candidate, Finding, Run

pytestmark = pytest.mark.django_db


def accepted(*, is_forged: bool = False) -> Candidate:
    """Return an accepted candidate, whose own runs may be forged by owners whose long record spares them the audit."""
    machines = [scenes.open_host(valid_count=10**9) for _ in range(3)]
    candidate = scenes.begin(scenes.post(), 1.40)
    while candidate.status not in Candidate.DECIDED:
        found = [run for machine in machines for run in scenes.lease(machine)]
        made = {run.pk: _leaves(run, is_forged=is_forged) for run in found}
        for run in found:
            scenes.seal(run, made[run.pk])
        for run in found:
            scenes.reveal(run, made[run.pk])
            scenes.hand_in(run)
        scenes.work_pool()
        scenes.advance(candidate)
    assert candidate.status == Candidate.Status.ACCEPTED
    return candidate


def _leaves(run: Run, *, is_forged: bool) -> list[bytes]:
    return scenes.leaves_of(run, forged_from=1 if is_forged and run.kind == Run.Kind.CANDIDATE else 99, flavour="no work")


def look(candidate: Candidate) -> challenges.Outcome:
    return challenges.conclude(candidate=candidate, since=clock.now() - datetime.timedelta(hours=1), now=clock.now())


def test_stands_when_the_pool_comes_to_the_same_weights() -> None:
    candidate = accepted()
    trained = Run.objects.filter(stage=Run.Stage.VALID).values("tree", "seed").distinct().count()
    challenges.ask(candidate=candidate)
    challenges.ask(candidate=candidate)
    again = Run.objects.filter(is_trusted_only=True)
    assert again.count() == trained
    assert look(candidate) == challenges.Outcome.OPEN
    scenes.work_pool()
    assert look(candidate) == challenges.Outcome.STANDS
    assert Finding.objects.count() == 0
    assert tips.current(candidate.task).candidate_id == candidate.pk


def test_falls_by_a_forged_run_and_is_no_tip_any_more() -> None:
    candidate = accepted(is_forged=True)
    challenges.ask(candidate=candidate)
    scenes.work_pool()
    assert look(candidate) == challenges.Outcome.FALLS
    assert look(candidate) == challenges.Outcome.FALLS
    found = list(Finding.objects.values_list("is_upheld", "reason_code", "run__kind"))
    forged = Run.objects.filter(kind=Run.Kind.CANDIDATE, is_trusted_only=False, stage=Run.Stage.VALID)
    assert found == [(False, reasons.OTHER_ROOT, Run.Kind.CANDIDATE)] * forged.count()
    assert tips.current(candidate.task).number == 0


def test_is_not_left_undecided_by_a_pool_that_was_killed() -> None:
    candidate = accepted()
    challenges.ask(candidate=candidate)
    for left in range(rules.MAX_ATTEMPTS):
        assert look(candidate) == challenges.Outcome.OPEN
        for run in scenes.lease_trusted_runs(limit=8):
            scenes.seal(run)
        Run.objects.filter(stage=Run.Stage.SEALED).update(lease_until=Now() - datetime.timedelta(seconds=1))
        assert runs.sweep(now=clock.now()) > 0, left
    # Enough: whoever staked has his stake back.
    assert look(candidate) == challenges.Outcome.UNKNOWN


def test_goes_on_when_another_pool_trains_what_a_killed_one_left() -> None:
    candidate = accepted()
    challenges.ask(candidate=candidate)
    scenes.seal(scenes.lease_trusted_runs(limit=1)[0])
    Run.objects.filter(stage=Run.Stage.SEALED).update(lease_until=Now() - datetime.timedelta(seconds=1))
    runs.sweep(now=clock.now())
    scenes.work_pool()
    assert look(candidate) == challenges.Outcome.OPEN
    scenes.work_pool()
    assert look(candidate) == challenges.Outcome.STANDS
