"""Cancelling: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import cancellation, claiming, disputes, locks
from market.bounties.models import Bounty
from market.events.models import Event
from tasks import claims
from tasks.models import Task, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger


def cancel(bounty: Bounty, now: datetime.datetime) -> Bounty:
    cancellation.cancel(bounty=bounty, agent=bounty.agent, now=now)
    bounty.refresh_from_db()
    return bounty


def test_refunds_everything_where_nobody_works(agent: Agent, now: datetime.datetime) -> None:
    bounty = cancel(stories.post_photo_bounty(agent, slots=3, now=now), now)
    assert (bounty.status, bounty.closed_because, bounty.closed_at) == (Bounty.Status.CANCELLED, Bounty.ClosedBecause.CANCELLED, now)
    assert (ledger.available(agent), ledger.held(bounty)) == (100_000, 0)
    assert Task.objects.get().status == Task.Status.CLOSED


def test_changes_nothing_the_second_time(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    for _ in range(2):
        assert cancel(bounty, now).status == Bounty.Status.CANCELLED
    assert Event.objects.filter(type="bounty.cancelled").count() == 1
    assert ledger.available(agent) == 100_000


def test_stops_new_claims_and_honours_live_ones(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=3, now=now)
    claim = stories.claim(bounty, worker, now=now)
    cancel(bounty, now)
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.OPEN, Bounty.ClosedBecause.CANCELLED)
    # Two free slots come back at once; the live claim's slot and the reserve stay.
    assert (ledger.held(bounty), ledger.available(agent)) == (1100 + 500, 100_000 - 1600)
    with pytest.raises(claims.NotListed):
        stories.claim(bounty, people.open_worker(), now=now)
    stories.settle(stories.submit(claim, now=now), now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(worker), ledger.available(agent)) == (Bounty.Status.CANCELLED, 1000, 100_000 - 1100)


def test_pays_a_truthful_negative_outcome_under_a_live_claim(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    claim = stories.claim(bounty, worker, now=now)
    cancel(bounty, now)
    stories.settle(stories.submit_negative(claim, now=now), now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(worker), ledger.available(agent)) == (Bounty.Status.CANCELLED, 500, 99_500)


def test_ends_when_the_last_live_claim_is_dropped_or_expires(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    first, second = (stories.claim(bounty, people.open_worker(), now=now) for _ in range(2))
    cancel(bounty, now)
    claiming.drop(claim=first, worker=first.worker, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.held(bounty)) == (Bounty.Status.OPEN, 1600)
    claiming.expire_due(now=second.expires_at)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.available(agent)) == (Bounty.Status.CANCELLED, 100_000)


def test_keeps_the_money_of_a_rejection_until_its_appeal_window_is_over(
    agent: Agent, worker: WorkerProfile, now: datetime.datetime
) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    submission = stories.rejected(bounty, worker, now=now)
    cancel(bounty, now)
    assert (bounty.status, ledger.held(bounty)) == (Bounty.Status.OPEN, 1600)
    assert submission.appeal_until is not None
    disputes.finalise_due(now=submission.appeal_until)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.available(agent)) == (Bounty.Status.CANCELLED, 100_000)


def test_counts_a_bounty_whose_every_slot_was_delivered_as_settled(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    cancel(bounty, now)
    stories.settle(submission, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.SETTLED, Bounty.ClosedBecause.ACCEPTED)


def test_ends_a_bounty_that_was_never_funded(agent: Agent, now: datetime.datetime) -> None:
    bounty = cancel(stories.draft_photo_bounty(agent, now=now), now)
    assert (bounty.status, ledger.available(agent)) == (Bounty.Status.CANCELLED, 100_000)


def test_refuses_what_has_ended(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.accepted(bounty, worker, now=now)
    with pytest.raises(cancellation.NotCancellable):
        cancel(bounty, now)
    assert ledger.earned(worker) == 1000


def test_is_closed_to_a_stranger(agent: Agent, stranger: User, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    with pytest.raises(locks.NoBounty):
        cancellation.cancel(bounty=bounty, agent=stranger.agents.get(), now=now)
    assert ledger.held(bounty) == 1600
