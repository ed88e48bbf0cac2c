"""A bounty whose time runs out: it ..."""

import datetime

from market.accounts.models import Agent
from market.bounties import cancellation, claiming
from market.bounties.models import Bounty
from market.escrow.models import Hold
from tasks.models import WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger

TICK = datetime.timedelta(microseconds=1)


def test_is_refunded_when_nobody_claims(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    closes_at = bounty.task.closes_at
    assert cancellation.close_due(now=closes_at - TICK) == 0
    assert cancellation.close_due(now=closes_at) == 1
    assert cancellation.close_due(now=closes_at) == 0
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because, bounty.closed_at) == (Bounty.Status.EXPIRED, Bounty.ClosedBecause.EXPIRED, closes_at)
    assert ledger.available(agent) == 100_000
    assert set(Hold.objects.values_list("status", flat=True)) == {Hold.Status.EXPIRED}


def test_waits_for_received_work(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    closes_at = bounty.task.closes_at
    for _ in range(2):
        cancellation.close_due(now=closes_at)
        bounty.refresh_from_db()
        assert (bounty.status, bounty.closed_because, ledger.held(bounty)) == (Bounty.Status.OPEN, Bounty.ClosedBecause.EXPIRED, 1600)
    stories.settle(submission, now=closes_at + datetime.timedelta(hours=1))
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(worker), ledger.available(agent)) == (Bounty.Status.EXPIRED, 1000, 100_000 - 1100)


def test_ends_with_its_last_claim(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    closes_at = bounty.task.closes_at
    claim = stories.claim(bounty, worker, now=closes_at - datetime.timedelta(minutes=3))
    assert claim.expires_at == closes_at
    claiming.expire_due(now=closes_at)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.available(agent)) == (Bounty.Status.EXPIRED, 100_000)


def test_keeps_what_was_delivered(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    worker = people.open_worker()
    stories.accepted(bounty, worker, now=now)
    cancellation.close_due(now=bounty.task.closes_at)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(worker), ledger.available(agent)) == (Bounty.Status.EXPIRED, 1000, 100_000 - 1100)


def test_expires_unfunded_too(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.draft_photo_bounty(agent, now=now)
    assert cancellation.close_due(now=bounty.task.closes_at) == 1
    bounty.refresh_from_db()
    assert bounty.status == Bounty.Status.EXPIRED
