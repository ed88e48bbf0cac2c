"""Two at once, on connections of their own: research rows ..."""

import functools

import pytest

from tasks import clock, leases
from tests import people, racing
from tests.market import in_turn
from tests.verification.research import scenes
from verification.research import advancing, candidates, ideas, tips
from verification.research.models import Candidate, Host, Idea, Run, Tip, TrustedJob

pytestmark = pytest.mark.django_db(transaction=True)


def test_take_one_tree_from_many_once() -> None:
    task = scenes.post()
    edited = scenes.edit(1.40)
    makers = [people.open_user("maker") for _ in range(8)]
    results = racing.together([functools.partial(scenes.submit, task, edited=edited, claimant=maker) for maker in makers])
    assert sum(isinstance(result, Candidate) for result in results) == 1
    assert {type(result) for result in results} == {Candidate, candidates.DuplicateTree}


def test_give_every_candidate_a_place_of_its_own() -> None:
    task = scenes.post()
    results = racing.together([functools.partial(scenes.submit, task) for _ in range(8)])
    assert sorted(result.place for result in results if isinstance(result, Candidate)) == list(range(1, 9))


def test_keep_one_announced_place_for_one_claimant() -> None:
    task, maker = scenes.post(), people.open_user("maker")
    announce = functools.partial(candidates.announce, task=task, claimant=maker, now=clock.now())
    results = racing.together([functools.partial(announce, sealed_sha256=f"{number:064x}") for number in range(6)])
    assert sum(isinstance(result, Candidate) for result in results) == 1


def test_never_give_one_owner_both_sides_of_a_baseline() -> None:
    machine = scenes.open_host()
    machines = [machine, *(scenes.open_host(machine.owner, name=f"machine {number}") for number in range(5))]
    scenes.open_host()
    scenes.begin(scenes.post())
    results = racing.together([functools.partial(scenes.lease, one, 8) for one in machines])
    leased = [run for result in results if isinstance(result, list) for run in result]
    assert sorted(run.kind for run in leased) == ["BASELINE", "CANDIDATE"]
    assert len(results) == len([result for result in results if isinstance(result, list)])


def test_are_judged_once_when_the_last_two_readings_come_at_once() -> None:
    machine = scenes.open_host(valid_count=0)
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    scenes.train(run)
    jobs = scenes.lease_jobs()
    assert {job.kind for job in jobs} == {"EVALUATE", "AUDIT"}
    results = racing.together([functools.partial(scenes.complete, job) for job in [*jobs, *jobs]])
    assert all(isinstance(result, TrustedJob) for result in results)
    run.refresh_from_db()
    assert (run.stage, Host.objects.get(pk=machine.pk).valid_count) == (Run.Stage.VALID, 1)


def test_are_handed_in_once_when_finished_twice() -> None:
    machine = scenes.open_host(valid_count=0)
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    scenes.seal(run)
    scenes.reveal(run)
    results = racing.together([functools.partial(scenes.hand_in, run)] * 4)
    assert all(isinstance(result, Run) for result in results)
    assert sorted(TrustedJob.objects.filter(run=run).values_list("kind", flat=True)) == ["AUDIT", "EVALUATE"]


def test_draw_one_audit_when_revealed_twice() -> None:
    machine = scenes.open_host(valid_count=0)
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    scenes.seal(run)
    results = racing.together([functools.partial(scenes.reveal, run)] * 6)
    assert len({tuple(result.wanted_checkpoints) for result in results if isinstance(result, Run)}) == 1
    assert all(isinstance(result, Run) for result in results)


def test_become_a_tip_once_when_advanced_by_many() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.begin(task, 1.40)
    for _ in range(30):
        candidate.refresh_from_db()
        if candidate.status in Candidate.DECIDED:
            break
        scenes.work_hosts(machines)
        Candidate.objects.filter(lease_state=leases.LeaseState.READY).update(available_at=clock.now())
        racing.together([functools.partial(advancing.advance, candidate_id=candidate.pk, now=clock.now())] * 4)
    assert candidate.status == Candidate.Status.ACCEPTED
    assert Tip.objects.filter(task=task).count() == 2
    asked = list(Run.objects.values_list("kind", "tree", "seed_index", "replica"))
    assert len(asked) == len(set(asked))
    assert tips.current(task).candidate_id == candidate.pk


def test_let_one_of_two_hold_an_idea() -> None:
    task = scenes.post()
    idea = ideas.add(task=task, author=people.open_user("author"), untrusted_text="wider", now=clock.now())
    first, second = people.open_user("a"), people.open_user("b")
    hold = functools.partial(ideas.hold, idea=idea, now=clock.now())
    outcomes = in_turn.second_waits_for(functools.partial(hold, holder=first), functools.partial(hold, holder=second))
    assert isinstance(outcomes[0], Idea)
    assert isinstance(outcomes[1], ideas.NotOpen)
