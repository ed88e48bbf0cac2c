"""Closing a research bounty: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties import cancellation
from market.bounties.locks import NoBounty
from market.bounties.research import cancelling, entering, paying, settlement, sweeping
from market.bounties.research.models import ResearchBounty
from market.escrow.models import Hold
from tests import people
from tests.market.bounties import ledger
from tests.market.bounties.research import scene


@pytest.fixture
def maker(db: None) -> Agent:
    return scene.open_maker()


def refreshed(bounty: ResearchBounty) -> ResearchBounty:
    return ResearchBounty.objects.select_related("task", "agent").get(pk=bounty.pk)


def test_refunds_all_at_once_when_nothing_came_in(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    for _ in range(2):
        assert cancelling.cancel(bounty=bounty, agent=agent, now=now).status == "CANCELLED"
    assert (ledger.available(agent), scene.held(bounty), Hold.objects.get().status) == (100_000, 0, "VOIDED")
    assert refreshed(bounty).task.status == "CLOSED"


def test_decides_and_pays_what_was_received_before_it_refunds_the_rest(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    candidate = scene.submit(bounty, maker, now=now)
    host = scene.open_host()
    cancelling.cancel(bounty=bounty, agent=agent, now=now)
    assert (refreshed(bounty).status, refreshed(bounty).closed_because, scene.held(bounty)) == ("OPEN", "CANCELLED", 10_000)
    scene.valid_run(candidate, host, now=now)
    scene.decide(candidate, "ACCEPTED", now=now)
    sweeping.sweep(now=now)
    assert (refreshed(bounty).status, refreshed(bounty).closed_at) == ("CANCELLED", now)
    assert (scene.earned(maker.owner), scene.staked(host.owner), ledger.available(agent)) == (1_000, 50, 100_000 - 1_100 - 50)


def test_is_cancelled_by_its_agent_alone(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    with pytest.raises(NoBounty):
        cancelling.cancel(bounty=bounty, agent=maker, now=now)
    assert scene.held(bounty) == 10_000


def test_ends_at_the_deadline_and_not_before(agent: Agent, now: datetime.datetime) -> None:
    end = now + datetime.timedelta(hours=1)
    bounty, unfunded = scene.post(agent, closes_at=end, now=now), scene.draft(agent, closes_at=end, now=now)
    assert cancelling.close_due(now=end - datetime.timedelta(microseconds=1)) == 0
    assert cancelling.close_due(now=end) == 2
    assert (refreshed(bounty).status, refreshed(unfunded).status) == ("EXPIRED", "EXPIRED")
    assert (Hold.objects.get().status, ledger.available(agent)) == ("EXPIRED", 100_000)
    with pytest.raises(cancellation.NotCancellable):
        cancelling.cancel(bounty=bounty, agent=agent, now=end)


def test_ends_when_the_budget_can_not_pay_another_candidate(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("38.00"), now=now)
    candidate = scene.submit(bounty, maker, now=now)
    scene.decide(candidate, "ACCEPTED", now=now)
    settlement.apply_due(now=now)
    assert (refreshed(bounty).status, refreshed(bounty).closed_because) == ("SETTLED", "SPENT")
    assert (scene.held(bounty), ledger.available(agent)) == (0, 100_000 - 1_100)
    with pytest.raises(entering.NotOpen):
        scene.submit(bounty, maker, now=now)


def test_stays_open_while_a_rejection_may_free_enough(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("38.00"), now=now)
    candidate = scene.submit(bounty, maker, now=now)
    assert cancelling.close_due(now=now) == 0
    scene.decide(candidate, "REJECTED", now=now)
    settlement.apply_due(now=now)
    assert refreshed(bounty).status == "OPEN"
    scene.submit(bounty, maker, now=now)


def test_spends_a_budget_to_the_last_unit(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("37.00"), now=now)
    candidate = scene.submit(bounty, maker, now=now)
    for _ in range(8):
        scene.valid_run(candidate, scene.open_host(), now=now)
    paying.pay_runs_due(now=now)
    scene.decide(candidate, "ACCEPTED", effects=3.0, now=now)
    settlement.apply_due(now=now)
    assert (scene.held(bounty), Hold.objects.get().status, refreshed(bounty).status) == (0, "CAPTURED", "SETTLED")


def test_sweeps_again_without_effect(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    candidate = scene.submit(bounty, maker, now=now)
    scene.valid_run(candidate, scene.open_host(), now=now)
    scene.decide(candidate, "ACCEPTED", now=now)
    later = now + datetime.timedelta(days=2)
    for moment in (now, later):
        assert sum(sweeping.sweep(now=moment).values()) > 0
    assert set(sweeping.sweep(now=later).values()) == {0}
    assert people.key_of(agent) == bounty.posted_with
