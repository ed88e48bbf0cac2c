"""An owner's appeal of a run that was judged invalid: it ..."""

import datetime
import functools

import pytest

from tasks import clock, leases
from tests import people, racing
from tests.verification.research import scenes
from verification.replay.classes import ClassKey
from verification.research import appeals, eligible, hosts, reasons, rules, runs
from verification.research.models import Appeal, Host, Run, TrustedJob

pytestmark = pytest.mark.django_db
_Status, _Stage = Appeal.Status, Run.Stage


def found_invalid(machine: Host, *, is_forged: bool, forged_from: int = 4) -> Run:
    """Return a run that was judged invalid: a forged one, or an honest one of which the auditor was wrong."""
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    scenes.train(run, scenes.leaves_of(run, forged_from=forged_from if is_forged else 99, flavour="no work"))
    for job in scenes.lease_jobs():
        is_audit = job.kind == TrustedJob.Kind.AUDIT
        scenes.complete(job, {"is_passed": False, "code": "segment_differs"} if is_audit else None)
    run.refresh_from_db()
    assert (run.stage, run.reason_code) == (_Stage.INVALID, reasons.AUDIT_FAILED)
    return run


def test_overturns_the_finding_where_the_pool_comes_to_the_same_root() -> None:
    machine = scenes.open_host(valid_count=0)
    run = found_invalid(machine, is_forged=False)
    appeal = appeals.ask(run=run, now=clock.now())
    assert (appeal.status, appeal.again.is_trusted_only, appeal.again.seed) == (_Status.OPEN, True, run.seed)
    assert appeals.conclude_due(now=clock.now()) == 0
    scenes.work_pool()
    assert [appeals.conclude_due(now=clock.now()) for _ in range(2)] == [1, 0]
    appeal.refresh_from_db()
    assert (appeal.status, appeal.differs_from) == (_Status.OVERTURNED, None)
    machine.refresh_from_db()
    assert (machine.valid_count, machine.invalid_count) == (1, 0)
    # What it was judged stays as it was written.
    run.refresh_from_db()
    assert run.stage == _Stage.INVALID


def test_stands_and_shows_the_first_checkpoint_that_differs() -> None:
    machine = scenes.open_host(valid_count=0)
    run = found_invalid(machine, is_forged=True, forged_from=4)
    appeal = appeals.ask(run=run, now=clock.now())
    scenes.work_pool()
    appeals.conclude_due(now=clock.now())
    appeal.refresh_from_db()
    assert (appeal.status, appeal.differs_from) == (_Status.STANDS, 4)
    machine.refresh_from_db()
    assert (machine.valid_count, machine.invalid_count) == (0, 1)


def test_gives_the_record_back_as_it_would_be() -> None:
    machine = scenes.open_host(valid_count=0)
    invalid = [found_invalid(machine, is_forged=False) for _ in range(rules.SUSPENDED_AFTER_INVALID)]
    machine.refresh_from_db()
    assert machine.is_suspended
    for run in invalid[1:]:
        appeals.ask(run=run, now=clock.now())
    scenes.work_pool()
    assert appeals.conclude_due(now=clock.now()) == 2
    machine.refresh_from_db()
    assert (machine.valid_count, machine.invalid_count, machine.is_suspended) == (2, 1, False)


def test_leaves_a_host_suspended_that_an_operator_suspended() -> None:
    machine = scenes.open_host(valid_count=0)
    run = found_invalid(machine, is_forged=False)
    Host.objects.filter(pk=machine.pk).update(is_suspended=True)
    appeals.ask(run=run, now=clock.now())
    scenes.work_pool()
    appeals.conclude_due(now=clock.now())
    machine.refresh_from_db()
    assert (machine.invalid_count, machine.is_suspended) == (0, True)


def test_calibrates_a_host_whose_first_run_was_right() -> None:
    machine = scenes.open_host(is_calibrated=False)
    [run] = scenes.lease(machine)
    scenes.train(run)
    [job] = [job for job in scenes.lease_jobs() if job.kind == TrustedJob.Kind.AUDIT]
    scenes.complete(job, {"is_passed": False, "code": "segment_differs"})
    TrustedJob.objects.filter(run=run, lease_state=leases.LeaseState.LEASED).update(lease_state=leases.LeaseState.READY)
    for again in scenes.lease_jobs():
        scenes.complete(again, {"leaf": scenes.leaves_of(run)[-1].hex(), "score": None, "refusal": "none_needed"})
    run.refresh_from_db()
    assert run.stage == _Stage.INVALID
    appeals.ask(run=run, now=clock.now())
    for more in scenes.lease_trusted_runs():
        scenes.train(more)
        for each in scenes.lease_jobs():
            scenes.complete(each, {"leaf": scenes.leaves_of(more)[-1].hex(), "score": None, "refusal": "none_needed"})
    assert appeals.conclude_due(now=clock.now()) == 1
    machine.refresh_from_db()
    assert hosts.status(machine) == "READY"


def test_may_be_asked_until_its_time_is_over_and_then_no_more() -> None:
    run = found_invalid(scenes.open_host(valid_count=0), is_forged=False)
    assert run.judged_at is not None
    end = run.judged_at + rules.APPEAL_WITHIN
    assert appeals.until(run) == end
    with pytest.raises(appeals.NotAppealable):
        appeals.ask(run=run, now=end)
    assert not Appeal.objects.exists()
    first = appeals.ask(run=run, now=end - datetime.timedelta(microseconds=1))
    # The same request again, when the time is over: the first one's answer.
    assert appeals.ask(run=run, now=end + datetime.timedelta(days=1)).again_id == first.again_id
    assert Run.objects.filter(kind=Run.Kind.APPEAL).count() == 1


def test_is_not_for_what_was_not_judged_invalid() -> None:
    machine = scenes.open_host()
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    with pytest.raises(appeals.NotAppealable):
        appeals.ask(run=run, now=clock.now())
    runs.cancel(run=run, reason_code=reasons.VANISHED, now=clock.now())
    run.refresh_from_db()
    with pytest.raises(appeals.NotAppealable):
        appeals.ask(run=run, now=clock.now())


def test_is_bounded_for_an_owner_whose_appeals_came_to_nothing() -> None:
    owner = people.open_user("owner")
    machines = [scenes.open_host(owner, valid_count=0, name=f"box {number}") for number in range(5)]
    right, first, second, third, fourth = [found_invalid(machine, is_forged=number > 0) for number, machine in enumerate(machines)]
    for run in (right, first, second):
        appeals.ask(run=run, now=clock.now())
    with pytest.raises(appeals.AppealsSpent):
        appeals.ask(run=third, now=clock.now())
    scenes.work_pool()
    appeals.conclude_due(now=clock.now())
    # The one that was right counts no more; those that came to nothing do.
    appeals.ask(run=third, now=clock.now())
    with pytest.raises(appeals.AppealsSpent):
        appeals.ask(run=fourth, now=clock.now())
    assert Run.objects.filter(kind=Run.Kind.APPEAL).count() == 4


def test_is_undecided_where_the_pool_cannot_train_it_or_never_comes() -> None:
    machine = scenes.open_host(valid_count=0)
    first, second = found_invalid(machine, is_forged=True), found_invalid(machine, is_forged=True)
    for run in (first, second):
        appeals.ask(run=run, now=clock.now())
    Run.objects.filter(again_for__run=first).update(lease_state=leases.LeaseState.DEAD)
    assert appeals.conclude_due(now=clock.now()) == 1
    asked_at = Appeal.objects.get(run=second).asked_at
    late = asked_at + rules.APPEAL_DECIDED_WITHIN
    assert appeals.conclude(run_id=second.pk, now=late - datetime.timedelta(microseconds=1)) == _Status.OPEN
    assert appeals.conclude(run_id=second.pk, now=late) == _Status.UNDECIDED
    assert set(Appeal.objects.values_list("status", flat=True)) == {_Status.UNDECIDED}
    machine.refresh_from_db()
    assert (machine.valid_count, machine.invalid_count) == (0, 2)


@pytest.mark.parametrize(("is_passed", "outcome"), [(True, _Status.OVERTURNED), (False, _Status.STANDS)])
def test_goes_by_the_band_of_the_segments_where_the_pool_has_another_class(is_passed: bool, outcome: Appeal.Status) -> None:
    run = found_invalid(scenes.open_host(valid_count=0), is_forged=False)
    appeal = appeals.ask(run=run, now=clock.now())
    again = next(each for each in scenes.lease_trusted_runs() if each.kind == Run.Kind.APPEAL)
    scenes.train(again)
    scenes.work_pool()
    other = ClassKey.parse(scenes.SECOND_CLASS).text
    told = Run.objects.get(pk=again.pk).report or {}
    Run.objects.filter(pk=again.pk).update(report={**told, "class_text": other, "root": "00" * 32})
    assert appeals.conclude_due(now=clock.now()) == 0
    [job] = scenes.lease_jobs()
    assert (job.kind, job.run_id) == (TrustedJob.Kind.AUDIT, run.pk)
    assert set(run.audited_segments) <= set(job.params["segments"])
    scenes.complete(job, {"is_passed": is_passed, "code": None if is_passed else "outside_band"})
    assert appeals.conclude_due(now=clock.now()) == 1
    appeal.refresh_from_db()
    assert (appeal.status, appeal.differs_from) == (outcome, None)


def test_is_trained_again_by_nobody_whom_it_concerns() -> None:
    run = found_invalid(scenes.open_host(valid_count=0), is_forged=False)
    again = appeals.ask(run=run, now=clock.now()).again
    assert run.candidate is not None
    assert run.owner is not None
    for user, is_his in ((run.owner, True), (run.candidate.claimant, True), (run.candidate.task.owner, True), (scenes.pool_user(), False)):
        assert (again not in eligible.for_trusted_pool(owner=user, modes=scenes.BOTH)) is is_his


@pytest.mark.django_db(transaction=True)
def test_is_one_where_two_are_asked_at_once() -> None:
    run = found_invalid(scenes.open_host(valid_count=0), is_forged=False)
    fresh = [Run.objects.select_related("owner").get(pk=run.pk) for _ in range(2)]
    asked = racing.together([functools.partial(appeals.ask, run=each, now=clock.now()) for each in fresh])
    assert [type(each) for each in asked] == [Appeal, Appeal]
    assert (Appeal.objects.count(), Run.objects.filter(kind=Run.Kind.APPEAL).count()) == (1, 1)
