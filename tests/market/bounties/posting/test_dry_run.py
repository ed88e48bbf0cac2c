"""A dry run: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties import posting
from market.bounties.models import Bounty
from market.events.models import Event
from market.policy import mandates
from tests import people, stories


def quote(agent: Agent, now: datetime.datetime, reward: str = "10.00", **terms: object) -> posting.Quote:
    return posting.quote(
        agent=agent,
        key=people.key_of(agent),
        terms_input=stories.photo_terms(**terms),
        offer_input=stories.offer(reward, now=now),
        now=now,
    )


def test_says_price_policy_and_criteria_and_writes_nothing(agent: Agent, now: datetime.datetime) -> None:
    found = quote(agent, now)
    assert (found.price.total_minor, found.price.reserve_minor) == (1600, 500)
    assert (found.policy.is_allowed, found.policy.codes, found.policy.country) == (True, (), "DE")
    assert [criterion.code for criterion in found.criteria] == [
        "in_place",
        "in_time",
        "sharp",
        "exposed",
        "large_enough",
        "original",
        "shows:0",
    ]
    assert found.expected_time_to_claim_s is None
    assert not Bounty.objects.exists()
    assert not Event.objects.exists()


def test_says_which_codes_would_block(agent: Agent, now: datetime.datetime) -> None:
    found = quote(agent, now, latitude=35.7, longitude=51.4)
    assert not found.policy.is_allowed
    assert "embargoed" in found.policy.codes


def test_measures_the_time_to_claim_nearby(agent: Agent, now: datetime.datetime) -> None:
    for minutes in (2, 4, 60):
        bounty = stories.post_photo_bounty(agent, reward="1.00", now=now)
        claim = stories.claim(bounty, people.open_worker(), now=now)
        type(claim).objects.filter(pk=claim.pk).update(created_at=now + datetime.timedelta(minutes=minutes))
    assert quote(agent, now + datetime.timedelta(minutes=90)).expected_time_to_claim_s == 4 * 60
    assert quote(agent, now + datetime.timedelta(minutes=90), latitude=48.1, longitude=11.5).expected_time_to_claim_s is None


def test_says_that_a_limit_of_the_key_is_in_the_way(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent(limit_per_bounty_minor=1599)
    with pytest.raises(mandates.SpendLimitExceeded):
        quote(agent, now)
