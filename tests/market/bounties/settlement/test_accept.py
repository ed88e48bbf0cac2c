"""An accepted submission: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties import settlement
from market.bounties.models import Bounty, Settlement
from market.events.models import Event
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger


def test_pays_the_worker_and_the_fee_and_returns_the_reserve(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, reward="10.00")
    assert (ledger.available(agent), ledger.held(bounty)) == (100_000 - 1600, 1600)
    settled = stories.accepted(bounty, worker)
    bounty.refresh_from_db()
    worker.refresh_from_db()
    assert (ledger.earned(worker), ledger.fees(), ledger.held(bounty), ledger.available(agent)) == (1000, 100, 0, 98_900)
    assert (bounty.status, bounty.closed_because) == (Bounty.Status.SETTLED, Bounty.ClosedBecause.ACCEPTED)
    assert (settled.kind, settled.worker_minor, settled.fee_minor) == (Settlement.Kind.ACCEPTED, 1000, 100)
    assert Slot.objects.get().lease_state == LeaseState.DONE
    assert worker.accepted_count == 1
    assert Claim.objects.get().ended_at is not None
    assert Submission.objects.get().final_at is not None


def test_delivers_each_slot_at_once(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    first, second = people.open_worker(), people.open_worker()
    stories.accepted(bounty, first, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(first), ledger.held(bounty)) == (Bounty.Status.OPEN, 1000, 1100 + 500)
    stories.accepted(bounty, second, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, ledger.earned(second), ledger.held(bounty)) == (Bounty.Status.SETTLED, 1000, 0)


def test_issues_a_receipt_over_terms_and_evidence(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    receipt = stories.accepted(bounty, worker, now=now).receipt
    assert receipt is not None
    payload = receipt["payload"]
    assert (payload["bounty"], payload["terms_hash"]) == (str(bounty), bounty.terms_hash)
    assert payload["evidence"] == [Submission.objects.get().evidence.get().sha256]


def test_tells_the_agent_every_step_in_order(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.accepted(stories.post_photo_bounty(agent, now=now), worker, now=now)
    assert list(Event.objects.order_by("id").values_list("type", flat=True)) == [
        "bounty.screened",
        "bounty.opened",
        "claim.made",
        "submission.received",
        "submission.checking",
        "submission.accepted",
        "submission.paid",
        "bounty.filled",
        "bounty.settled",
    ]


def test_applies_a_verdict_once(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    first = stories.accepted(bounty, worker, now=now)
    before = Event.objects.count()
    again = settlement.apply_verdict(verdict_id=first.verdict_id, now=now)
    assert again == first
    assert (ledger.earned(worker), Event.objects.count(), Settlement.objects.count()) == (1000, before, 1)


def test_is_found_by_the_sweep(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
    assert settlement.apply_due(now=now) == 1
    assert settlement.apply_due(now=now) == 0
    assert ledger.earned(worker) == 1000


def test_moves_nothing_under_other_terms(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    claim = stories.claim(bounty, worker, now=now)
    verdict = stories.decide(stories.submit(claim, now=now), now=now)
    Claim.objects.update(terms_hash="0" * 64)
    with pytest.raises(settlement.TermsMismatch):
        settlement.apply_verdict(verdict_id=verdict.pk, now=now)
    verdict.refresh_from_db()
    assert (verdict.applied_at, ledger.earned(worker), ledger.held(bounty)) == (None, 0, 1600)


def test_does_not_wait_for_a_bad_verdict_before_it(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    broken, whole = (stories.post_photo_bounty(agent, now=now) for _ in range(2))
    bad = stories.claim(broken, people.open_worker(), now=now)
    stories.decide(stories.submit(bad, now=now), now=now)
    Claim.objects.filter(pk=bad.pk).update(terms_hash="0" * 64)
    stories.decide(stories.submit(stories.claim(whole, worker, now=now), now=now), now=now)
    with pytest.raises(ExceptionGroup):
        settlement.apply_due(now=now)
    assert ledger.earned(worker) == 1000
