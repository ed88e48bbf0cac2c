"""An accepted submission: it ..."""

import datetime

from market.accounts.models import Agent
from market.bounties.models import Bounty, Settlement
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, WorkerProfile
from tests import stories
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
