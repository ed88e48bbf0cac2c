"""Reading what research money did: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties.locks import NoBounty
from market.bounties.research import paying, queries, rules, settlement
from market.common.money import Money
from tests import people
from tests.market.bounties.research import scene
from verification.research.models import Run


def test_tells_a_bountys_money(agent: Agent, now: datetime.datetime) -> None:
    bounty, maker, host = scene.post(agent, now=now), scene.open_maker(), scene.open_host()
    candidate = scene.submit(bounty, maker, now=now)
    scene.submit(bounty, maker, now=now)
    scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    scene.decide(candidate, "ACCEPTED", now=now)
    settlement.apply_due(now=now)
    story = queries.story_of_bounty(queries.bounty_of(agent, bounty.pk))
    assert (story.case_minor, story.free_minor) == (scene.CASE_MINOR, 10_000 - 1_100 - 50 - scene.CASE_MINOR)
    assert (story.rewards_minor, story.run_pay_minor, story.candidate_count, story.accepted_count) == (1_000, 50, 2, 1)
    assert (story.totals.held_minor, story.takes_candidates) == (10_000 - 1_150, True)
    told = queries.story_of_candidate(candidate)
    assert told.reserve is not None
    assert told.settlement is not None
    assert (told.reserve.bond.status, told.settlement.reward_minor, told.challenges) == ("PLACED", 1_000, [])


def test_shows_an_agents_drafts_to_him_alone(agent: Agent, now: datetime.datetime) -> None:
    draft, opened = scene.draft(agent, now=now), scene.post(agent, now=now)
    assert list(queries.bounties_of(agent)) == [opened, draft]
    with pytest.raises(NoBounty):
        queries.bounty_of(people.open_agent(), opened.pk)
    assert list(queries.open_bounties(mode="test")) == [opened]
    assert list(queries.published(mode="live")) == []
    with pytest.raises(NoBounty):
        queries.published_one(mode="test", bounty_id=draft.pk)


def test_tells_what_runs_pay_and_paid(agent: Agent, now: datetime.datetime) -> None:
    candidate, host = scene.submit(scene.post(agent, now=now), scene.open_maker(), now=now), scene.open_host()
    paid = scene.valid_run(candidate, host, now=now)
    waiting = scene.run(candidate, None, now=now)
    calibration = scene.run(candidate, host, now=now, kind=Run.Kind.CALIBRATION, candidate_id=None, task_id=None, tip_id=None)
    paying.pay_runs_due(now=now)
    fee = Money(scene.FEE_MINOR, "USD")
    assert queries.pay_of_runs([paid, waiting, calibration]) == {paid.pk: fee, waiting.pk: fee, calibration.pk: rules.CALIBRATION_PAY}
    assert queries.open_run_fees(mode="test", class_text=scene.CLASS, hardware="cpu") == [fee]
    worker = paying.profile_of(host.owner_id, "test")
    assert queries.earnings_of(worker, mode="test") == {"USD": queries.OwnerEarnings(1, 50, 0, 50)}
    assert [payment.run for payment in queries.payments_of(host.owner_id, mode="test")] == [paid]
