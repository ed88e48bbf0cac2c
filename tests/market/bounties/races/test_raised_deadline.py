"""A deadline that is raised while another step waits for the bounty: it ..."""

import datetime

from market.accounts.models import Agent
from market.bounties import cancellation, claiming, improving
from market.bounties.models import Bounty
from tasks.models import Claim
from tests import people, stories
from tests.market import in_turn
from tests.market.bounties import ledger

LATER = datetime.timedelta(hours=4)
TICK = datetime.timedelta(microseconds=1)


def test_is_what_the_waiting_clock_goes_by(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, now=now)
    closes_at = bounty.task.closes_at
    in_turn.second_waits_for(
        lambda: improving.improve(bounty=bounty, agent=rich_agent, deadline=now + LATER, now=closes_at - TICK),
        lambda: cancellation.close_due(now=closes_at),
    )
    bounty.refresh_from_db()
    assert (bounty.status, bounty.closed_because, ledger.held(bounty)) == (Bounty.Status.OPEN, "", 1600)


def test_keeps_the_slot_of_a_claim_that_ends_meanwhile(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, now=now)
    closes_at = bounty.task.closes_at
    claim = stories.claim(bounty, people.open_worker(), now=closes_at - datetime.timedelta(minutes=1))
    assert claim.expires_at == closes_at
    in_turn.second_waits_for(
        lambda: improving.improve(bounty=bounty, agent=rich_agent, deadline=now + LATER, now=closes_at - TICK),
        lambda: claiming.expire_due(now=closes_at),
    )
    claim.refresh_from_db()
    bounty.refresh_from_db()
    assert (claim.status, bounty.status, bounty.closed_because) == (Claim.Status.EXPIRED, Bounty.Status.OPEN, "")
    assert claim.slot.lease_state == "READY"
