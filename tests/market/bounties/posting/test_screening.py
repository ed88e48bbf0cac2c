"""Screening before anything is published: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties import claiming, funding
from market.bounties.models import Bounty
from market.events.models import Event
from tasks import claims
from tasks.models import WorkerProfile
from tests import stories
from tests.market.bounties import ledger


def test_blocks_by_words_with_codes(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.draft_photo_bounty(agent, now=now, question="Photograph the SMS code on the screen and send me the one-time password.")
    assert bounty.status == Bounty.Status.BLOCKED
    assert "credentials" in bounty.policy_codes
    assert "screening" in bounty.policy_version
    assert Event.objects.get().type == "bounty.blocked"


@pytest.mark.parametrize(
    ("latitude", "longitude", "code"),
    [(35.7, 51.4, "embargoed"), (-45.0, -110.0, "country_unknown")],
    ids=["Tehran", "the middle of the Pacific"],
)
def test_blocks_by_place(agent: Agent, now: datetime.datetime, latitude: float, longitude: float, code: str) -> None:
    bounty = stories.draft_photo_bounty(agent, now=now, latitude=latitude, longitude=longitude)
    assert bounty.status == Bounty.Status.BLOCKED
    assert code in bounty.policy_codes


def test_lets_nobody_fund_or_claim_what_it_blocked(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.draft_photo_bounty(agent, now=now, latitude=35.7, longitude=51.4)
    with pytest.raises(funding.NotFundable):
        funding.fund(bounty=bounty, now=now)
    with pytest.raises(claims.NotListed):
        claiming.claim(task_id=bounty.task_id, worker=worker, now=now)
    assert ledger.available(agent) == 100_000
