"""Runs as they are handed out: an owner ..."""

import datetime

import pytest
from django.db.models.functions import Now

from tasks import clock, leases
from tests import people
from tests.verification.research import scenes
from verification.research import hosts, rules, runs
from verification.research.models import Candidate, Host, Run

pytestmark = pytest.mark.django_db


def open_pair() -> tuple[Candidate, list[Host]]:
    """Return a candidate whose first pair is asked, and three machines of strangers."""
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.begin(scenes.post())
    assert sorted(Run.objects.values_list("kind", "replica")) == [("BASELINE", 0), ("BASELINE", 1), ("CANDIDATE", 0)]
    return candidate, machines


def test_gets_one_side_of_a_baseline_and_not_the_other() -> None:
    _, machines = open_pair()
    mine = scenes.lease(machines[0], limit=8)
    assert sorted(run.kind for run in mine) == ["BASELINE", "CANDIDATE"]
    [rest] = scenes.lease(machines[1], limit=8)
    assert rest.kind == Run.Kind.BASELINE
    assert len({run.pk for run in [*mine, rest]}) == 3
    second = scenes.open_host(machines[0].owner, name="second machine")
    Run.objects.filter(pk=rest.pk).update(lease_state=leases.LeaseState.READY)
    assert scenes.lease(second) == [], "another machine of the same owner"


def test_gets_nothing_of_his_own_commit_or_task() -> None:
    poster, maker = people.open_user("poster"), people.open_user("maker")
    own = [scenes.open_host(poster), scenes.open_host(maker)]
    task = scenes.post(poster)
    candidate = scenes.begin(task, claimant=maker)
    assert (candidate.status, Run.objects.count()) == (Candidate.Status.WAITING, 0), "machines of the two do not count"
    scenes.open_host()
    scenes.advance(candidate)
    assert Run.objects.count() > 0
    assert [scenes.lease(host) for host in own] == [[], []]


def test_gets_nothing_of_the_tip_that_he_made() -> None:
    maker = people.open_user("maker")
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    assert scenes.play(scenes.begin(task, 1.40, claimant=maker), machines).status == Candidate.Status.ACCEPTED
    own = scenes.open_host(maker)
    scenes.begin(task, edited={"extra.py": "A = 1\n"})
    assert {run.kind for run in scenes.lease(own, limit=8)} <= {Run.Kind.CANDIDATE}


def test_gets_only_runs_of_his_class_and_level() -> None:
    _, _ = open_pair()
    assert scenes.lease(scenes.open_host(class_text=scenes.SECOND_CLASS)) == []
    Run.objects.update(level="gvisor-gpu")
    weak = scenes.open_host()
    assert scenes.lease(weak) == []
    Host.objects.filter(pk=weak.pk).update(reported_level="vm-gpu")
    weak.refresh_from_db()
    assert len(scenes.lease(weak)) == 1


def test_gets_his_calibration_first_and_nothing_else_until_it_is_valid() -> None:
    open_pair()
    fresh = scenes.open_host(is_calibrated=False)
    [run] = scenes.lease(fresh, limit=8)
    assert (run.kind, run.host_id) == (Run.Kind.CALIBRATION, fresh.pk)
    scenes.train(run)
    assert scenes.lease(fresh) == []
    scenes.work_pool()
    fresh.refresh_from_db()
    assert (fresh.valid_count, hosts.status(fresh)) == (1, "READY")
    assert len(scenes.lease(fresh)) == 1


def test_gets_nothing_once_suspended_or_with_another_mans_machine() -> None:
    _, machines = open_pair()
    Host.objects.filter(pk=machines[0].pk).update(is_suspended=True)
    with pytest.raises(runs.HostSuspended):
        scenes.lease(machines[0])
    for host in (machines[1], None):
        with pytest.raises(hosts.NoHost):
            runs.hand_out(
                key_id=scenes.POOL_KEY, user=people.open_user("thief"), host=host, holder="x", limit=1, lease_s=60, modes=("test",)
            )
    assert not Run.objects.filter(lease_state=leases.LeaseState.LEASED).exists()


def test_gets_a_run_back_whose_lease_ended_and_his_old_token_is_worth_nothing() -> None:
    _, machines = open_pair()
    [slow] = scenes.lease(machines[0])
    Run.objects.filter(pk=slow.pk).update(lease_until=Now() - datetime.timedelta(seconds=1))
    assert runs.sweep(now=clock.now()) == 1
    assert runs.sweep(now=clock.now()) == 0
    again = next(run for run in scenes.lease(machines[0], limit=8) + scenes.lease(machines[1], limit=8) if run.pk == slow.pk)
    assert (again.token, again.attempts) == (slow.token + 1, 2)
    for stale in (
        lambda: scenes.seal(slow),
        lambda: runs.heartbeat(run_id=slow.pk, token=slow.token, key_id=scenes.key_id_of(again), lease_s=60),
        lambda: runs.fail(run_id=slow.pk, token=slow.token, key_id=scenes.key_id_of(again), reason="raised", steps_done=1, now=clock.now()),
    ):
        with pytest.raises((leases.StaleLease, runs.NoRun)):
            stale()
    again.refresh_from_db()
    assert (again.stage, again.lease_state) == (Run.Stage.OPEN, leases.LeaseState.LEASED)


def test_keeps_a_run_by_heartbeats_but_not_for_ever() -> None:
    _, machines = open_pair()
    [run] = scenes.lease(machines[0])
    beat = {"run_id": run.pk, "token": run.token, "key_id": scenes.key_id_of(run), "lease_s": 60}
    runs.heartbeat(**beat, step=120)  # type: ignore[arg-type]
    runs.heartbeat(**beat, step=40)  # type: ignore[arg-type]
    runs.heartbeat(**beat, step=10**9)  # type: ignore[arg-type]
    run.refresh_from_db()
    assert run.reported_step == 200
    limit = datetime.timedelta(seconds=120, hours=1)
    Run.objects.filter(pk=run.pk).update(leased_at=Now() - limit - datetime.timedelta(seconds=1))
    with pytest.raises(leases.StaleLease):
        runs.heartbeat(**beat)  # type: ignore[arg-type]
    with pytest.raises(runs.NoRun):
        runs.heartbeat(**{**beat, "key_id": scenes.POOL_KEY})  # type: ignore[arg-type]


def test_sends_a_run_on_that_he_cannot_do_and_after_some_to_the_pool() -> None:
    candidate, machines = open_pair()
    key = {"stage": Run.Stage.OPEN, "is_trusted_only": False, "kind": Run.Kind.CANDIDATE}
    for _ in range(rules.MAX_ATTEMPTS):
        Run.objects.update(available_at=Now())
        Run.objects.exclude(kind=Run.Kind.CANDIDATE).update(available_at=Now() + datetime.timedelta(hours=1))
        [run] = scenes.lease(machines[0])
        code = runs.fail(
            run_id=run.pk, token=run.token, key_id=scenes.key_id_of(run), reason="No room; DROP\n", steps_done=7, now=clock.now()
        )
        assert code == "no_room_drop_"
    assert not Run.objects.filter(lease_state=leases.LeaseState.READY, **key).exists()
    scenes.advance(candidate)
    dead = Run.objects.get(pk=run.pk)
    assert (dead.stage, dead.reason_code, dead.reported_step) == (Run.Stage.CANCELLED, "never_finished", 7)
    assert Run.objects.get(kind=Run.Kind.CANDIDATE, is_trusted_only=True).replica == 1
