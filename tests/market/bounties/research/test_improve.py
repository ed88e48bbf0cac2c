"""Raising the budget of an open research bounty: it ..."""

import datetime
import functools

import pytest

from market.accounts.models import Agent, ApiKey
from market.bounties import improving as refusals
from market.bounties import posting as bounty_posting
from market.bounties import pricing, spending
from market.bounties.models import Spend
from market.bounties.research import cancelling, improving, queries, reserving
from market.bounties.research.models import ResearchBounty
from market.common.money import Money
from market.escrow import holds
from market.events.models import Event
from market.policy import mandates
from tasks import clock
from tests import people, racing
from tests.market.bounties import ledger
from tests.market.bounties.research import scene


def improve(bounty: ResearchBounty, budget: str, *, now: datetime.datetime, currency: str = "USD") -> ResearchBounty:
    return improving.improve(bounty=bounty, key=people.key_of(bounty.agent), budget=Money.parse(budget, currency), now=now)


def test_holds_the_difference_once_and_lets_more_candidates_in(agent: Agent, now: datetime.datetime) -> None:
    people.top_up(agent, "500.00")
    bounty = scene.post(agent, terms=scene.offer("40.00"), now=now)
    frozen, before = bounty.terms_hash, ledger.available(agent)
    scene.submit(bounty, scene.open_maker(), now=now)
    with pytest.raises(reserving.BudgetSpent):
        scene.submit(bounty, scene.open_maker(), now=now)
    for _ in range(2):  # The same again changes nothing.
        assert improve(bounty, "75.00", now=now).budget_minor == 7_500
    assert (scene.held(bounty), ledger.available(agent)) == (7_500, before - 3_500)
    scene.submit(bounty, scene.open_maker(), now=now)
    improve(bounty, "80.00", now=now)
    assert list(Spend.objects.order_by("offer_version").values_list("offer_version", "amount_minor")) == [(1, 4000), (2, 3500), (3, 500)]
    assert Event.objects.filter(type="research.improved").count() == 2
    bounty.refresh_from_db()
    assert bounty.terms_hash == frozen
    assert queries.reserves_that_differ() == []


def test_never_makes_it_worse_and_stays_within_the_limits(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    for budget, currency in (("99.99", "USD"), ("200.00", "EUR")):
        with pytest.raises(refusals.NotImprovable):
            improve(bounty, budget, now=now, currency=currency)
    with pytest.raises(pricing.BadOffer):
        improve(bounty, "100000.01", now=now)
    with pytest.raises(holds.InsufficientFunds):
        improve(bounty, "99000.00", now=now)
    ApiKey.objects.update(limit_currency="USD", limit_per_bounty_minor=10_500)
    with pytest.raises(mandates.SpendLimitExceeded):
        improve(bounty, "105.01", now=now)
    assert (scene.held(bounty), Spend.objects.count()) == (10_000, 1)
    improve(bounty, "105.00", now=now)
    ApiKey.objects.update(revoked_at=now)
    with pytest.raises(spending.KeyRevoked):
        improve(bounty, "106.00", now=now)
    assert scene.held(bounty) == 10_500


def test_is_refused_when_it_is_not_open(agent: Agent, now: datetime.datetime) -> None:
    people.top_up(agent, "500.00")
    with pytest.raises(refusals.NotImprovable):
        improve(scene.draft(agent, now=now), "200.00", now=now)
    bounty = scene.post(agent, now=now)
    improve(bounty, "101.00", now=bounty.deadline - datetime.timedelta(microseconds=1))
    with pytest.raises(refusals.NotImprovable):
        improve(bounty, "102.00", now=bounty.deadline)
    Agent.objects.update(is_suspended=True)
    with pytest.raises(bounty_posting.AgentSuspended):
        improve(bounty, "102.00", now=now)
    Agent.objects.update(is_suspended=False)
    scene.submit(bounty, scene.open_maker(), now=now)
    cancelling.cancel(bounty=bounty, agent=agent, now=now)
    with pytest.raises(refusals.NotImprovable):
        improve(bounty, "102.00", now=now)
    assert scene.held(bounty) == 10_100


@pytest.mark.django_db(transaction=True)
def test_holds_once_what_two_ask_at_once() -> None:
    now, agent = clock.now(), people.open_agent()
    people.top_up(agent, "500.00")
    bounty = scene.post(agent, now=now)
    done = racing.together([functools.partial(improve, bounty, budget, now=now) for budget in ("150.00", "150.00", "160.00")])
    assert {type(each) for each in done} <= {ResearchBounty, refusals.NotImprovable}
    assert (scene.held(bounty), ResearchBounty.objects.get().budget_minor) == (16_000, 16_000)
    assert sum(Spend.objects.values_list("amount_minor", flat=True)) == 16_000
