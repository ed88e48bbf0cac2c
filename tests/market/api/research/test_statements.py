"""Reads of research bounties ask the database as often for many as for one, and entering asks for nothing twice."""

import pytest

from market.accounts.models import Agent
from market.bounties.research.models import ResearchBounty
from tasks import clock
from tests.faults import research_calls
from tests.market.api.caller import Caller
from tests.market.api.test_statements import statements, used_before
from tests.market.bounties.research import scene

pytestmark = pytest.mark.django_db


def many(agent: Agent, bounty: ResearchBounty) -> None:
    research_calls.bounty(agent)
    research_calls.bounty(agent)
    for _ in range(3):
        scene.submit(bounty, scene.open_maker(), now=clock.now())
        research_calls.queued_idea(bounty)


@pytest.mark.parametrize("path", ["research", "research/{}/candidates", "research/{}/ideas", "research/{}/lineage"])
def test_lists_ask_as_often_for_many_as_for_one(agent: Agent, bounty: ResearchBounty, path: str) -> None:
    caller, address = used_before(agent), path.format(bounty)
    scene.submit(bounty, scene.open_maker(), now=clock.now())
    research_calls.queued_idea(bounty)
    one = statements(lambda: caller.get(address).ok())
    many(agent, bounty)
    assert statements(lambda: caller.get(address).ok()) == one <= 9


def test_entering_asks_for_nothing_twice(bounty: ResearchBounty, maker: Agent) -> None:
    caller, body = used_before(maker), research_calls.candidate_body(bounty)
    assert statements(lambda: caller.post(f"research/{bounty}/candidates", body).ok(201)) <= MOST_FOR_A_CANDIDATE


MOST_FOR_A_CANDIDATE = 45


def test_trainings_of_an_owner_ask_as_often_for_many_as_for_one() -> None:
    run, secret = research_calls.leased()
    caller = Caller(secret)
    caller.get("replays").ok()
    assert statements(lambda: caller.get("replays").ok()) <= 6
    assert caller.get(f"replays/{run}").ok()["id"] == str(run)
