"""Vision runs in the hands of GPU workers: ours, slow ones and strangers."""

import datetime
import functools
import uuid

import pytest
from django.db.models.functions import Now

from tasks import clock, leases
from tests import racing
from tests.market import in_turn
from tests.verification import photographs, scenes
from verification import readings, vision_runs
from verification.models import Case, VisionRun

OTHER_KEY = uuid.UUID(int=8)


def waiting() -> VisionRun:
    """Return the run of a fresh case, leased."""
    scenes.advance(scenes.hand_in())
    return scenes.lease(1)[0]


def complete(run: VisionRun, *, key_id: uuid.UUID = scenes.KEY_ID, token: int | None = None, **sent: object) -> None:
    vision_runs.complete(
        run_id=run.pk,
        token=run.token if token is None else token,
        key_id=key_id,
        readings={**scenes.readings([scenes.SURE]), **sent},
        model_hash=scenes.MODEL_HASH,
        preprocessing="test-1",
        now=clock.now(),
    )


@pytest.mark.django_db
def test_hands_each_run_to_one_holder() -> None:
    for name in ("coffee", "cat", "flower"):
        scenes.advance(scenes.hand_in(photographs.snap(name)))
    first = vision_runs.hand_out(key_id=scenes.KEY_ID, holder="a", limit=2, lease_s=60)
    second = vision_runs.hand_out(key_id=OTHER_KEY, holder="b", limit=32, lease_s=60)
    assert (len(first), len(second), len({run.pk for run in first + second})) == (2, 1, 3)
    assert {run.leased_by_key for run in first} == {scenes.KEY_ID}
    assert vision_runs.hand_out(key_id=OTHER_KEY, holder="b", limit=32, lease_s=60) == []


@pytest.mark.django_db
def test_gives_nobody_his_own_work_or_task_to_read() -> None:
    """His readings would accept it."""
    submission = scenes.hand_in()
    scenes.advance(submission)
    for own in (submission.worker_id, submission.task.owner_id):
        assert vision_runs.hand_out(key_id=OTHER_KEY, holder="b", limit=1, lease_s=60, stranger_to=own) == []
    stranger = scenes.open_user()
    assert len(vision_runs.hand_out(key_id=OTHER_KEY, holder="b", limit=1, lease_s=60, stranger_to=stranger.pk)) == 1


@pytest.mark.django_db
def test_hands_out_a_bounded_number() -> None:
    waiting()
    for limit in (0, -5):
        assert vision_runs.hand_out(key_id=OTHER_KEY, holder="b" * 500, limit=limit, lease_s=60) == []


@pytest.mark.django_db
def test_takes_readings_once() -> None:
    run = waiting()
    complete(run)
    kept = VisionRun.objects.get()
    assert kept.lease_state == leases.LeaseState.DONE
    assert Case.objects.get().stage == Case.Stage.DECIDE
    complete(run, phrase_scores=[0.0])
    assert VisionRun.objects.get().readings == kept.readings


@pytest.mark.django_db
def test_refuses_the_readings_of_a_lost_lease() -> None:
    slow = waiting()
    VisionRun.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    vision_runs.sweep()
    VisionRun.objects.update(available_at=Now())
    quick = vision_runs.hand_out(key_id=OTHER_KEY, holder="quick", limit=1, lease_s=60)[0]
    with pytest.raises(vision_runs.NoRun):
        complete(slow)
    with pytest.raises(leases.StaleLease):
        complete(quick, key_id=OTHER_KEY, token=slow.token)
    with pytest.raises(leases.StaleLease):
        vision_runs.heartbeat(run_id=slow.pk, token=slow.token, key_id=scenes.KEY_ID, lease_s=60)
    assert VisionRun.objects.get().readings is None
    complete(quick, key_id=OTHER_KEY)
    assert Case.objects.get().stage == Case.Stage.DECIDE


@pytest.mark.django_db
def test_lets_no_holder_keep_a_run_for_ever_by_saying_that_he_lives() -> None:
    run = waiting()
    VisionRun.objects.update(created_at=Now() - vision_runs.WAIT - datetime.timedelta(seconds=1))
    with pytest.raises(leases.StaleLease):
        vision_runs.heartbeat(run_id=run.pk, token=run.token, key_id=scenes.KEY_ID, lease_s=600)
    VisionRun.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    vision_runs.sweep()
    assert (VisionRun.objects.get().lease_state, Case.objects.get().stage) == (leases.LeaseState.DEAD, Case.Stage.DECIDE)


@pytest.mark.django_db
def test_takes_late_readings_while_nobody_else_has_the_run() -> None:
    run = waiting()
    VisionRun.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    complete(run)
    assert VisionRun.objects.get().lease_state == leases.LeaseState.DONE


@pytest.mark.django_db
def test_gives_a_stranger_nothing() -> None:
    run = waiting()
    for unknown in (functools.partial(complete, run, key_id=OTHER_KEY), functools.partial(complete, VisionRun(pk=uuid.uuid4(), token=1))):
        with pytest.raises(vision_runs.NoRun):
            unknown()
    with pytest.raises(leases.StaleLease):
        vision_runs.fail(run_id=run.pk, token=run.token, key_id=OTHER_KEY, reason="mine")
    with pytest.raises(leases.StaleLease):
        vision_runs.heartbeat(run_id=run.pk, token=run.token, key_id=OTHER_KEY, lease_s=60)
    kept = VisionRun.objects.get()
    assert (kept.lease_state, kept.token, kept.readings) == (leases.LeaseState.LEASED, run.token, None)


@pytest.mark.django_db
def test_keeps_a_run_leased_whose_readings_are_malformed() -> None:
    run = waiting()
    with pytest.raises(readings.MalformedReadings):
        complete(run, phrase_scores=[float("nan")])
    assert VisionRun.objects.get().lease_state == leases.LeaseState.LEASED
    complete(run)


@pytest.mark.django_db
def test_offers_a_failed_run_to_others_and_gives_up_after_some() -> None:
    submission = scenes.hand_in()
    scenes.advance(submission)
    for attempt in range(1, vision_runs.MAX_ATTEMPTS + 1):
        run = scenes.lease(1)[0]
        assert run.attempts == attempt
        code = vision_runs.fail(run_id=run.pk, token=run.token, key_id=scenes.KEY_ID, reason="Can't; DROP TABLE \n pay me")
        assert code == "can_t_drop_table_pay_me"
        assert scenes.lease(1) == [], "not at once"
        VisionRun.objects.filter(lease_state=leases.LeaseState.READY).update(available_at=Now())
    assert VisionRun.objects.get().lease_state == leases.LeaseState.DEAD
    assert scenes.advance(submission).stage == Case.Stage.REVIEW


@pytest.mark.django_db
def test_goes_on_only_with_the_last_photo() -> None:
    scenes.advance(scenes.hand_in(photographs.snap("coffee"), photographs.snap("cat")))
    first, second = scenes.lease(2)
    complete(first)
    assert Case.objects.get().stage == Case.Stage.VISION
    complete(second)
    assert Case.objects.get().stage == Case.Stage.DECIDE


@pytest.mark.django_db(transaction=True)
def test_goes_on_when_the_last_two_are_completed_at_once() -> None:
    scenes.advance(scenes.hand_in(*(photographs.snap("coffee", variant=number) for number in range(4))))
    runs = scenes.lease(4)
    results = racing.together([functools.partial(complete, run) for run in runs])
    assert results == [None] * 4
    assert Case.objects.get().stage == Case.Stage.DECIDE


@pytest.mark.django_db(transaction=True)
def test_takes_the_same_readings_twice_at_once() -> None:
    scenes.advance(scenes.hand_in())
    [run] = scenes.lease(1)
    assert in_turn.second_waits_for(functools.partial(complete, run), functools.partial(complete, run)) == [None, None]
    assert Case.objects.get().stage == Case.Stage.DECIDE
