"""A rejected submission: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import claiming, disputes, rules, submitting
from market.bounties.models import Bounty, Settlement
from market.events.models import Event
from tasks import claims
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger

TICK = datetime.timedelta(microseconds=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> Bounty:
    return stories.post_photo_bounty(agent, now=now, deadline=now + datetime.timedelta(days=10))


@pytest.fixture
def rejected(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> Submission:
    return stories.rejected(bounty, worker, now=now)


def retaken(rejected: Submission, now: datetime.datetime) -> Submission:
    claim = Claim.objects.select_related("worker").get(pk=rejected.claim_id)
    return stories.submit(claim, file=stories.kept_file("another photo"), now=now)


def test_names_its_criterion_and_keeps_slot_and_money(bounty: Bounty, rejected: Submission, worker: WorkerProfile) -> None:
    told = Event.objects.get(type="submission.rejected")
    assert told.data["criteria"] == [{"criterion": "sharp", "outcome": "FAIL", "reason_code": "decided_by_person"}]
    assert (rejected.status, rejected.final_at) == (Submission.Status.REJECTED, None)
    assert Slot.objects.get().lease_state == LeaseState.LEASED
    assert (ledger.held(bounty), ledger.earned(worker)) == (1600, 0)
    assert not Settlement.objects.exists()


def test_offers_a_retake_then_an_appeal(rejected: Submission, now: datetime.datetime) -> None:
    assert rejected.retake_until == now + rules.RETAKE_OFFER
    assert rejected.appeal_until == now + rules.RETAKE_OFFER + rules.APPEAL_WINDOW


def test_is_paid_when_its_retake_is_accepted(bounty: Bounty, rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    second = retaken(rejected, now)
    assert second.number == 2
    stories.settle(second, now=now)
    assert (ledger.earned(worker), ledger.held(bounty)) == (1000, 0)
    assert list(Settlement.objects.order_by("submission__number").values_list("kind", flat=True)) == ["UNPAID", "ACCEPTED"]


def test_gives_a_fresh_lease_for_the_retake_once(rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    claim = Claim.objects.get()
    later = now + datetime.timedelta(hours=1)
    for _ in range(2):
        active = submitting.start_retake(claim=claim, worker=worker, now=later)
        assert (active.status, active.is_retake_used) == (Claim.Status.ACTIVE, True)
        assert active.expires_at > later
    stories.settle(retaken(rejected, later), "REJECTED", now=later)
    with pytest.raises(submitting.NoRetake):
        submitting.start_retake(claim=claim, worker=worker, now=later)
    with pytest.raises(claims.StaleClaim):
        stories.submit(Claim.objects.select_related("worker").get(), file=stories.kept_file("third"), now=later)
    assert Submission.objects.count() == 2


def test_offers_no_retake_at_the_end_of_the_offer(rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    claim = Claim.objects.get()
    with pytest.raises(submitting.NoRetake):
        submitting.start_retake(claim=claim, worker=worker, now=now + rules.RETAKE_OFFER)
    submitting.start_retake(claim=claim, worker=worker, now=now + rules.RETAKE_OFFER - TICK)


def test_offers_no_retake_past_the_task(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    closes_at = now + datetime.timedelta(minutes=30)
    submission = stories.rejected(stories.post_photo_bounty(agent, now=now, deadline=closes_at), worker, now=now)
    assert submission.retake_until == closes_at


def test_becomes_final_when_the_appeal_window_has_passed(
    bounty: Bounty, rejected: Submission, worker: WorkerProfile, now: datetime.datetime
) -> None:
    assert rejected.appeal_until is not None
    assert disputes.finalise_due(now=rejected.appeal_until - TICK) == 0
    assert disputes.finalise_due(now=rejected.appeal_until) == 1
    assert disputes.finalise_due(now=rejected.appeal_until) == 0
    settled = Settlement.objects.get()
    assert (settled.kind, settled.worker_minor) == (Settlement.Kind.UNPAID, 0)
    worker.refresh_from_db()
    assert (worker.rejected_count, ledger.earned(worker), ledger.held(bounty)) == (1, 0, 1600)
    assert Slot.objects.get().lease_state == LeaseState.READY
    other = people.open_worker()
    stories.accepted(bounty, other, now=rejected.appeal_until)
    assert ledger.earned(other) == 1000


def test_refunds_when_it_becomes_final_past_the_deadline(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    submission = stories.rejected(bounty, worker, now=now)
    assert submission.appeal_until is not None
    disputes.finalise_due(now=submission.appeal_until)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.EXPIRED, Bounty.ClosedBecause.EXPIRED)
    assert (ledger.held(bounty), ledger.available(agent)) == (0, 100_000)


def test_gives_72_hours_after_a_rejected_retake(rejected: Submission, now: datetime.datetime) -> None:
    second = retaken(rejected, now)
    stories.settle(second, "REJECTED", now=now)
    assert (second.retake_until, second.appeal_until) == (None, now + rules.APPEAL_WINDOW)


def test_keeps_slot_and_appeal_when_its_retake_runs_out(
    bounty: Bounty, rejected: Submission, worker: WorkerProfile, verifier: User, now: datetime.datetime
) -> None:
    active = submitting.start_retake(claim=Claim.objects.get(), worker=worker, now=now)
    assert claiming.expire_due(now=active.expires_at) == 1
    assert Claim.objects.get().status == Claim.Status.EXPIRED
    slot = Slot.objects.get()
    assert (slot.lease_state, slot.lease_until) == (LeaseState.LEASED, None)
    stories.appeal(rejected, now=active.expires_at)
    stories.decide_appeal(rejected, verifier, "ACCEPTED", now=active.expires_at)
    assert (ledger.earned(worker), ledger.held(bounty)) == (1000, 0)


def test_lets_the_slot_go_when_a_dropped_retake_is_final(
    bounty: Bounty, rejected: Submission, worker: WorkerProfile, now: datetime.datetime
) -> None:
    active = submitting.start_retake(claim=Claim.objects.get(), worker=worker, now=now)
    claiming.drop(claim=active, worker=worker, now=now)
    assert Slot.objects.get().lease_state == LeaseState.LEASED
    assert rejected.appeal_until is not None
    assert disputes.finalise_due(now=rejected.appeal_until) == 1
    assert Slot.objects.get().lease_state == LeaseState.READY


def test_is_not_final_while_its_retake_is_under_way(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now, task_time_s=7200, deadline=now + datetime.timedelta(days=10))
    submission = stories.rejected(bounty, worker, now=now)
    submitting.start_retake(claim=Claim.objects.get(), worker=worker, now=now)
    Submission.objects.filter(pk=submission.pk).update(appeal_until=now)
    assert disputes.finalise_due(now=now) == 0


def test_pays_nothing_for_an_inconclusive_verdict_and_opens_the_slot(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> None:
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    settled = stories.settle(submission, "INCONCLUSIVE", now=now)
    assert settled is not None
    assert settled.kind == Settlement.Kind.UNPAID
    assert submission.final_at == now
    assert (Slot.objects.get().lease_state, ledger.held(bounty), ledger.earned(worker)) == (LeaseState.READY, 1600, 0)
    worker.refresh_from_db()
    assert worker.rejected_count == 0
