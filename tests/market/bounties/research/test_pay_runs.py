"""Paying an owner for a run: it ..."""

import datetime
import random

import pytest

from market.accounts.models import Agent
from market.bounties.research import paying, queries, staking
from market.bounties.research.models import CaseReserve, Forfeit, ResearchBounty, RunPayment
from market.escrow import stakes
from tests import people
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.replay import policy
from verification.research import reasons, ringers
from verification.research.models import Candidate, Host, Run


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> ResearchBounty:
    return scene.post(agent, now=now)


@pytest.fixture
def candidate(bounty: ResearchBounty, now: datetime.datetime) -> Candidate:
    return scene.submit(bounty, scene.open_maker(), now=now)


@pytest.fixture
def host(db: None) -> Host:
    return scene.open_host()


def fill_stake(candidate: Candidate, host: Host, now: datetime.datetime, runs: int = 10) -> None:
    """Let an owner earn so often that the next pay is his; the platform pays what the candidate's reserve is not for."""
    for _ in range(runs):
        scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)


def test_goes_into_the_stake_first_until_that_is_full(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    fill_stake(candidate, host, now, runs=9)
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (450, 0)
    scene.valid_run(candidate, host, now=now)
    scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (scene.FULL_STAKE_MINOR, 50)


def test_is_split_where_the_stake_lacks_less_than_the_pay(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    stakes.fill(mode="test", worker_id=paying.profile_of(host.owner_id, "test").pk, currency="USD", pay_minor=0, full_minor=0)
    fill_stake(candidate, host, now)
    ResearchBounty.objects.filter(pk=bounty.pk).update(run_fee_minor=53)
    run = scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    payment = RunPayment.objects.get(run=run)
    assert (payment.amount_minor, payment.staked_minor) == (53, 30)
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (530, 23)


def test_comes_once_from_the_reserve_of_its_candidate(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    scene.valid_run(candidate, host, now=now)
    scene.valid_run(candidate, host, now=now, kind=Run.Kind.BASELINE)
    assert [paying.pay_runs_due(now=now) for _ in range(2)] == [2, 0]
    reserve = CaseReserve.objects.get()
    bounty.refresh_from_db()
    assert (reserve.spent_minor, bounty.spent_minor, bounty.reserved_minor) == (100, 100, scene.CASE_MINOR - 100)
    assert (scene.held(bounty), scene.staked(host.owner)) == (9_900, 100)


def test_never_takes_the_reward_of_a_candidate_without_a_verdict(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    fill_stake(candidate, host, now, runs=9)
    reserve = CaseReserve.objects.get()
    # Eight runs were reserved for; the platform pays the rest, because it asked for them.
    assert (reserve.spent_minor, reserve.amount_minor - reserve.spent_minor) == (400, scene.CAP_MINOR + 300)
    assert (ledger.fees(), scene.staked(host.owner)) == (-50, 450)
    assert sorted(RunPayment.objects.values_list("platform_minor", flat=True)) == [0] * 8 + [50]


def test_is_not_for_the_trusted_pool_nor_for_runs_that_are_open_or_invalid(
    candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    scene.valid_run(candidate, host, now=now, is_trusted_only=True)
    scene.run(candidate, host, now=now)
    scene.end(scene.run(candidate, host, now=now), Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=now)
    assert (paying.pay_runs_due(now=now), RunPayment.objects.count()) == (0, 0)


def test_is_whole_for_a_run_that_we_could_not_evaluate(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    run = scene.run(candidate, host, now=now, seal="11" * 32, sealed_at=now)
    scene.end(run, Run.Stage.CANCELLED, reason=reasons.NOT_EVALUATED, now=now, handed_in_at=now)
    paying.pay_runs_due(now=now)
    payment = RunPayment.objects.get()
    assert (payment.reason, payment.amount_minor) == ("UNJUDGED", 50)


@pytest.mark.parametrize(
    ("step", "worked_s", "usual_s", "pay"),
    [
        (100, 50, None, 25),  # Half the steps, in half the time that a run may take.
        (200, 50, None, 25),  # All steps are his word; the time is ours.
        (100, 90, None, 25),
        (100, 10, 20, 25),  # The time is what valid runs took.
        (199, 2, 20, 5),
        (1, 100, None, 1),  # Rounded down, and at least one minor unit.
        (50, 1000, 20, 12),
    ],
)
def test_is_for_the_part_done_of_a_run_that_was_cancelled(
    candidate: Candidate, host: Host, now: datetime.datetime, step: int, worked_s: int, usual_s: int | None, pay: int
) -> None:
    if usual_s is not None:
        begun = now - datetime.timedelta(seconds=usual_s)
        scene.valid_run(candidate, scene.open_host(), now=now, leased_at=begun)
    run = scene.run(candidate, host, now=now, leased_at=now - datetime.timedelta(seconds=worked_s), reported_step=step)
    scene.end(run, Run.Stage.CANCELLED, reason=reasons.NOT_NEEDED, now=now)
    paying.pay_runs_due(now=now)
    payment = RunPayment.objects.get(run=run)
    assert (payment.reason, payment.amount_minor) == ("PARTIAL", pay)


def test_is_whole_for_a_finished_run_that_was_cancelled_before_its_report(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    run = scene.run(candidate, host, now=now, leased_at=now - datetime.timedelta(seconds=5), stage="SEALED", seal="11" * 32, sealed_at=now)
    scene.end(run, Run.Stage.CANCELLED, reason=reasons.NOT_NEEDED, now=now)
    paying.pay_runs_due(now=now)
    assert RunPayment.objects.get().amount_minor == 50


def test_is_nothing_for_who_gave_a_run_back_or_did_not_begin(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    gone = scene.run(candidate, host, now=now, reported_step=100)
    scene.end(gone, Run.Stage.CANCELLED, reason=reasons.NOT_NEEDED, now=now, lease_holder="")
    scene.end(scene.run(candidate, host, now=now), Run.Stage.CANCELLED, reason=reasons.NOT_NEEDED, now=now)
    scene.end(scene.run(candidate, host, now=now, reported_step=9), Run.Stage.CANCELLED, reason=reasons.NEVER_FINISHED, now=now)
    assert paying.pay_runs_due(now=now) == 0


def test_is_the_platforms_for_a_ringer_that_looks_like_any_other_run(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    scene.valid_run(candidate, host, now=now, kind=Run.Kind.RINGER, candidate_id=None)
    paying.pay_runs_due(now=now)
    payment = RunPayment.objects.get()
    assert (payment.reason, payment.bounty, payment.amount_minor, payment.platform_minor) == ("VALID", bounty, 50, 50)
    assert (ledger.fees(), scene.held(bounty), scene.staked(host.owner)) == (-50, 10_000, 50)


def test_of_a_ringer_is_no_posters_whichever_bounty_it_looks_like(
    monkeypatch: pytest.MonkeyPatch, bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    for replica in (0, 1):
        scene.valid_run(candidate, scene.open_host(), now=now, kind=Run.Kind.BASELINE, seed_index=1, replica=replica)
    paying.pay_runs_due(now=now)
    another = people.open_agent("another")
    people.top_up(another, "200.00")
    waiting = scene.run(scene.submit(scene.post(another, now=now), scene.open_maker(), now=now), None, now=now)
    monkeypatch.setattr(ringers, "_random", random.Random(1))
    monkeypatch.setattr(policy, "RINGER_SHARE", 1.0)
    Host.objects.filter(pk=host.pk).update(calibrated_at=now)
    host.refresh_from_db()
    ringer = ringers.mix_in(due=Run.objects.filter(pk=waiting.pk), host=host, owner=host.owner)
    assert ringer is not None
    assert (ringer.kind, ringer.task_id) == (Run.Kind.RINGER, bounty.task_id)
    held = [scene.held(each) for each in ResearchBounty.objects.order_by("pk")]
    Run.objects.filter(pk=ringer.pk).update(owner=host.owner, lease_state="LEASED", lease_holder="box", leased_at=now)
    scene.end(ringer, Run.Stage.VALID, reason=reasons.VALID, now=now)
    assert paying.pay_runs_due(now=now) == 1
    assert [scene.held(each) for each in ResearchBounty.objects.order_by("pk")] == held
    assert (ledger.fees(), scene.staked(host.owner)) == (-50, 50)
    assert queries.story_of_bounty(bounty).run_pay_minor == 100


def test_is_the_platforms_once_for_a_hosts_calibration(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    for _ in range(2):
        scene.valid_run(candidate, host, now=now, kind=Run.Kind.CALIBRATION, candidate_id=None, task_id=None, tip_id=None)
    assert [paying.pay_calibrations_due(now=now) for _ in range(2)] == [1, 0]
    assert (ledger.fees(), scene.earned(host.owner), scene.staked(host.owner)) == (-5, 5, 0)
    assert paying.pay_runs_due(now=now) == 0


def test_takes_the_whole_stake_for_a_forged_run_once(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    fill_stake(candidate, host, now, runs=6)
    forged = scene.end(scene.run(candidate, host, now=now), Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=now)
    assert [paying.forfeit_due(now=now) for _ in range(2)] == [1, 0]
    assert (scene.staked(host.owner), ledger.fees()) == (0, 300)
    assert Forfeit.objects.get(run=forged).amount_minor == 300
    second = scene.end(scene.run(candidate, host, now=now), Run.Stage.INVALID, reason=reasons.OTHER_WEIGHTS, now=now)
    assert (paying.forfeit_due(now=now), Forfeit.objects.get(run=second).amount_minor) == (1, 0)


def test_takes_the_stake_of_who_leaves_when_he_is_to_be_audited(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    fill_stake(candidate, host, now, runs=2)
    scene.end(scene.run(candidate, host, now=now, sealed_at=now), Run.Stage.CANCELLED, reason=reasons.VANISHED, now=now)
    assert paying.forfeit_due(now=now) == 0
    left = scene.run(candidate, host, now=now, sealed_at=now, revealed_at=now)
    scene.end(left, Run.Stage.CANCELLED, reason=reasons.GAVE_UP, now=now)
    assert (paying.forfeit_due(now=now), scene.staked(host.owner), ledger.fees()) == (1, 0, 100)


def test_keeps_the_stake_while_anything_hangs_on_it(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    fill_stake(candidate, host, now, runs=3)
    with pytest.raises(staking.StakeInUse):
        staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    RunPayment.objects.update(matured_at=now)
    running = scene.run(candidate, host, now=now)
    with pytest.raises(staking.StakeInUse):
        staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    scene.end(running, Run.Stage.INVALID, reason=reasons.OTHER_ROOT, now=now)
    with pytest.raises(staking.StakeInUse):
        staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    assert scene.staked(host.owner) == 150


def test_gives_the_stake_back_when_nothing_hangs_on_it(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    fill_stake(candidate, host, now, runs=3)
    RunPayment.objects.update(matured_at=now)
    withdrawal = staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    assert (withdrawal.amount_minor, scene.staked(host.owner), scene.payable(host.owner)) == (150, 0, 150)
    with pytest.raises(stakes.NothingStaked):
        staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    fill_stake(candidate, host, now, runs=1)
    RunPayment.objects.update(matured_at=now)
    staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)
    assert scene.payable(host.owner) == 200
