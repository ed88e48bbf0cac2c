"""A truthful "it can't be done": it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties.models import Bounty, Settlement
from tasks import submissions
from tasks.leases import LeaseState
from tasks.models import Slot, Submission, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger


def negative(bounty: Bounty, now: datetime.datetime, *, reason: str = "closed", worker: WorkerProfile | None = None) -> Submission:
    return stories.submit_negative(stories.claim(bounty, worker or people.open_worker(), now=now), reason=reason, now=now)


def test_is_paid_from_the_reserve_and_closes_the_bounty(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    settled = stories.settle(negative(bounty, now, worker=worker), now=now)
    assert settled is not None
    assert (settled.kind, settled.worker_minor, settled.fee_minor) == (Settlement.Kind.NEGATIVE, 500, 0)
    assert (ledger.earned(worker), ledger.fees(), ledger.held(bounty), ledger.available(agent)) == (500, 0, 0, 99_500)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.SETTLED, Bounty.ClosedBecause.NOT_POSSIBLE)


def test_opens_the_slot_again_while_the_reserve_lasts(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now, offer_more={"max_negative_outcomes": 3})
    stories.settle(negative(bounty, now, reason="unsafe"), now=now)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because, Slot.objects.get().lease_state) == (Bounty.Status.OPEN, "", LeaseState.READY)
    stories.accepted(bounty, worker, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(worker), ledger.available(agent)) == (Bounty.Status.SETTLED, 1000, 100_000 - 500 - 1100)


def test_closes_when_two_independent_reports_agree(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now, offer_more={"max_negative_outcomes": 5})
    for reason, status in (("closed", "OPEN"), ("no_access", "OPEN"), ("closed", "SETTLED")):
        stories.settle(negative(bounty, now, reason=reason), now=now)
        bounty.refresh_from_db()
        assert bounty.status == status
    assert ledger.available(agent) == 100_000 - 3 * 500


def test_honours_reports_under_way_when_the_reserve_is_used_up(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=3, now=now)
    workers = [people.open_worker() for _ in range(3)]
    reports = [negative(bounty, now, worker=worker) for worker in workers[:2]]
    photo = stories.submit(stories.claim(bounty, workers[2], now=now), now=now)
    stories.settle(reports[0], now=now)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.OPEN, Bounty.ClosedBecause.NOT_POSSIBLE)
    stories.settle(reports[1], now=now)
    stories.settle(photo, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.SETTLED, Bounty.ClosedBecause.NOT_POSSIBLE)
    assert [ledger.earned(worker) for worker in workers] == [500, 500, 1000]
    assert ledger.available(agent) == 100_000 - 500 - 500 - 1100


def test_is_not_paid_when_rejected(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.settle(negative(bounty, now, worker=worker), "REJECTED", now=now)
    assert (ledger.earned(worker), ledger.held(bounty)) == (0, 1600)


def test_names_a_known_reason(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    with pytest.raises(submissions.BadSubmission, match="closed, not_found, unsafe, no_access"):
        negative(bounty, now, reason="bored")


def test_returns_the_first_when_the_same_comes_again(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    claim = stories.claim(stories.post_photo_bounty(agent, now=now), worker, now=now)
    assert stories.submit_negative(claim, now=now).pk == stories.submit_negative(claim, now=now).pk
