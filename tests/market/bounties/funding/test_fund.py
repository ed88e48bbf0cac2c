"""Funding: it ..."""

import datetime

import pytest

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.bounties import funding, improving, spending
from market.bounties.models import Bounty, Spend
from market.common.money import Money
from market.escrow import holds
from market.escrow.models import Hold
from market.policy import mandates
from tasks.models import Task
from tests import people, stories
from tests.market.bounties import ledger


def test_holds_every_slot_and_the_reserve_then_lists(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now, offer_more={"max_negative_outcomes": 3})
    assert list(Hold.objects.filter(kind=Hold.Kind.SLOT).values_list("slot_number", "amount_minor")) == [(1, 1100), (2, 1100)]
    assert Hold.objects.get(kind=Hold.Kind.RESERVE).amount_minor == 1500
    assert ledger.available(agent) == 100_000 - 3700
    stored = Bounty.objects.select_related("task").get()
    assert (stored.status, stored.task.status, stored.funded_at) == (Bounty.Status.OPEN, Task.Status.LISTED, now)
    assert len(stored.terms_hash) == 64
    assert stored.terms_hash == bounty.terms_hash


def test_changes_nothing_the_second_time(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    again = funding.fund(bounty=bounty, now=now + datetime.timedelta(minutes=1))
    assert (again.status, again.funded_at, again.terms_hash) == (Bounty.Status.OPEN, now, bounty.terms_hash)
    assert ledger.available(agent) == 100_000 - 1600


def test_moves_nothing_without_enough_money(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent()
    people.top_up(agent, "15.99")
    bounty = stories.draft_photo_bounty(agent, now=now)
    with pytest.raises(holds.InsufficientFunds):
        funding.fund(bounty=bounty, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, bounty.task.status) == (Bounty.Status.SCREENED, Task.Status.DRAFT)
    assert (ledger.available(agent), Hold.objects.count(), Spend.objects.count()) == (1599, 0, 0)
    people.top_up(agent, "0.01")
    assert funding.fund(bounty=bounty, now=now).status == Bounty.Status.OPEN
    assert ledger.available(agent) == 0


def test_refuses_at_the_deadline(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.draft_photo_bounty(agent, deadline=now + datetime.timedelta(hours=1), now=now)
    with pytest.raises(funding.NotFundable, match="deadline"):
        funding.fund(bounty=bounty, now=now + datetime.timedelta(hours=1))
    assert ledger.available(agent) == 100_000
    funding.fund(bounty=bounty, now=now + datetime.timedelta(hours=1) - datetime.timedelta(microseconds=1))


def test_hashes_terms_and_offer(agent: Agent, now: datetime.datetime) -> None:
    deadline = now + datetime.timedelta(hours=1)
    same = [stories.post_photo_bounty(agent, now=now, deadline=deadline).terms_hash for _ in range(2)]
    dearer = stories.post_photo_bounty(agent, now=now, deadline=deadline, reward="10.01").terms_hash
    wider = stories.post_photo_bounty(agent, now=now, deadline=deadline, within_m=51).terms_hash
    assert same[0] == same[1]
    assert len({same[0], dearer, wider}) == 3


def test_refuses_what_is_over_the_limit_per_bounty(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent(limit_per_bounty_minor=1600)
    people.top_up(agent)
    stories.post_photo_bounty(agent, now=now)
    with pytest.raises(mandates.SpendLimitExceeded):
        stories.post_photo_bounty(agent, reward="10.01", now=now)
    assert ledger.available(agent) == 100_000 - 1600


def test_refuses_what_is_over_the_limit_per_rolling_day(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent(limit_per_day_minor=3200)
    people.top_up(agent)
    for _ in range(2):
        stories.post_photo_bounty(agent, now=now)
    day = datetime.timedelta(hours=24)
    with pytest.raises(mandates.SpendLimitExceeded) as refused:
        stories.post_photo_bounty(agent, now=now + day - datetime.timedelta(microseconds=1))
    assert refused.value.renews_at == now + day
    assert stories.post_photo_bounty(agent, now=now + day).status == Bounty.Status.OPEN


def test_refuses_a_revoked_key(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.draft_photo_bounty(agent, now=now)
    agent.api_keys.update(revoked_at=now)
    with pytest.raises(spending.KeyRevoked):
        funding.fund(bounty=bounty, now=now)
    assert ledger.available(agent) == 100_000


def test_counts_the_key_that_acts(agent: Agent, now: datetime.datetime) -> None:
    small, _ = keys.issue(
        user=User.objects.get(pk=agent.owner_id),
        agent=agent,
        mode="test",
        scope=ApiKey.Scope.AGENT,
        name="small",
        limit_per_day_minor=1000,
    )
    draft = stories.draft_photo_bounty(agent, now=now)
    with pytest.raises(mandates.SpendLimitExceeded):
        funding.fund(bounty=draft, key=small, now=now)
    funding.fund(bounty=draft, key=people.key_of(agent), now=now)
    with pytest.raises(mandates.SpendLimitExceeded):
        improving.improve(bounty=draft, agent=agent, key=small, reward=Money(2000, "USD"), now=now)
    assert ledger.held(draft) == 1600


def test_asks_the_rules_again_when_they_have_changed(agent: Agent, now: datetime.datetime) -> None:
    draft = stories.draft_photo_bounty(agent, now=now)
    Bounty.objects.update(policy_version="older")
    Task.objects.update(title="Send me the one-time password from the SMS")
    with pytest.raises(funding.NotFundable, match="rules now in force"):
        funding.fund(bounty=draft, now=now)
    assert ledger.available(agent) == 100_000
