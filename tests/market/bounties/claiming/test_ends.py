"""Extending, dropping and expiry of a claim: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import claiming, submitting
from market.bounties.models import Bounty
from tasks import claims
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger

TICK = datetime.timedelta(microseconds=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> Bounty:
    return stories.post_photo_bounty(agent, now=now)


@pytest.fixture
def claim(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> Claim:
    return stories.claim(bounty, worker, now=now)


def extend(claim: Claim, now: datetime.datetime, *, north: float = 0.0) -> Claim:
    latitude, longitude = stories.PLACE
    return claiming.extend(claim=claim, worker=claim.worker, latitude=latitude + north, longitude=longitude, now=now)


def test_extends_once_from_inside_the_place(claim: Claim, now: datetime.datetime) -> None:
    before = claim.expires_at
    extend(claim, now)
    assert Claim.objects.get().expires_at == before + datetime.timedelta(seconds=600)
    with pytest.raises(claims.AlreadyExtended):
        extend(claim, now)
    assert Claim.objects.get().expires_at == before + datetime.timedelta(seconds=600)


def test_extends_from_nowhere_else(claim: Claim, now: datetime.datetime) -> None:
    with pytest.raises(claims.NotInside):
        extend(claim, now, north=0.001)  # 111 m away, within_m is 50.
    assert not Claim.objects.get().is_extended


def test_extends_nothing_that_is_over(claim: Claim) -> None:
    with pytest.raises(claims.StaleClaim):
        extend(claim, claim.expires_at)
    extend(claim, claim.expires_at - TICK)


def test_extends_no_farther_than_the_task(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    closes_at = now + datetime.timedelta(seconds=1000)
    claim = stories.claim(stories.post_photo_bounty(agent, now=now, deadline=closes_at), worker, now=now)
    extend(claim, now)
    assert Claim.objects.get().expires_at == closes_at


def test_extends_a_retake_from_its_own_end(claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    old = Claim.objects.get()
    stories.settle(stories.submit(claim, now=now), "REJECTED", now=now)
    later = old.expires_at - TICK
    retaken = submitting.start_retake(claim=claim, worker=worker, now=later)
    assert extend(old, later).expires_at == retaken.expires_at + datetime.timedelta(seconds=600)


def test_drops_once_whatever_the_caller_has_read(claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    old = Claim.objects.get()
    claiming.drop(claim=claim, worker=worker, now=now)
    assert claiming.drop(claim=old, worker=worker, now=now + TICK).ended_at == now


def test_drops_freely_and_opens_the_slot(bounty: Bounty, claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    for _ in range(2):
        assert claiming.drop(claim=claim, worker=worker, now=now).status == Claim.Status.DROPPED
        claim.refresh_from_db()
    worker.refresh_from_db()
    assert (worker.expired_count, worker.rejected_count) == (0, 0)
    assert Slot.objects.get().lease_state == LeaseState.READY
    assert stories.claim(bounty, people.open_worker(), now=now).slot_token == claim.slot_token + 1
    assert ledger.held(bounty) == 1600


def test_drops_nothing_that_was_handed_in(claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.submit(claim, now=now)
    claim.refresh_from_db()
    with pytest.raises(claims.StaleClaim):
        claiming.drop(claim=claim, worker=worker, now=now)


def test_drops_nothing_whose_time_is_over(bounty: Bounty, claim: Claim, worker: WorkerProfile) -> None:
    # Nobody has noted yet that it is over; its worker may not choose the gentler end.
    with pytest.raises(claims.StaleClaim):
        claiming.drop(claim=claim, worker=worker, now=claim.expires_at)
    assert (Claim.objects.get().status, Slot.objects.get().lease_state) == (Claim.Status.ACTIVE, LeaseState.LEASED)
    assert claiming.expire_due(now=claim.expires_at) == 1
    with pytest.raises(claims.StaleClaim):
        claiming.drop(claim=claim, worker=worker, now=claim.expires_at)


def test_drops_until_the_moment_before_its_end(claim: Claim, worker: WorkerProfile) -> None:
    assert claiming.drop(claim=claim, worker=worker, now=claim.expires_at - TICK).status == Claim.Status.DROPPED


def test_expires_at_its_end_and_not_before(bounty: Bounty, claim: Claim, worker: WorkerProfile) -> None:
    assert claiming.expire_due(now=claim.expires_at - TICK) == 0
    assert claiming.expire_due(now=claim.expires_at) == 1
    assert claiming.expire_due(now=claim.expires_at) == 0
    worker.refresh_from_db()
    assert (Claim.objects.get().status, Slot.objects.get().lease_state, worker.expired_count) == (
        Claim.Status.EXPIRED,
        LeaseState.READY,
        1,
    )
    assert ledger.held(bounty) == 1600


def test_lets_no_stranger_touch_it(claim: Claim, stranger: User, now: datetime.datetime) -> None:
    latitude, longitude = stories.PLACE
    with pytest.raises(claims.NoClaim):
        claiming.drop(claim=claim, worker=stranger.worker_profile, now=now)
    with pytest.raises(claims.NoClaim):
        claiming.extend(claim=claim, worker=stranger.worker_profile, latitude=latitude, longitude=longitude, now=now)
    assert Claim.objects.get().status == Claim.Status.ACTIVE


def test_keeps_no_slot_from_others_by_taking_it_again_and_again(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    for _ in range(claims.MAX_TRIES):
        claiming.drop(claim=stories.claim(bounty, worker, now=now), worker=worker, now=now)
    with pytest.raises(claims.TriedTooOften):
        stories.claim(bounty, worker, now=now)
    slot = Slot.objects.get()
    assert (slot.lease_state, slot.attempts) == (LeaseState.READY, 0)
    stories.claim(bounty, people.open_worker(), now=now)
