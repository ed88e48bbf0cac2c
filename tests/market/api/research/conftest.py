"""An open research bounty, and somebody with money for bonds."""

import pytest

from market.accounts.models import Agent
from market.bounties.research.models import ResearchBounty
from tasks import clock
from tests.market.api.caller import Caller, calling_as
from tests.market.bounties.research import scene


@pytest.fixture
def bounty(agent: Agent) -> ResearchBounty:
    """An open one with a budget of 200.00, which five candidates fit into."""
    return scene.post(agent, now=clock.now(), terms=scene.offer("200.00"))


@pytest.fixture
def maker(db: None) -> Agent:
    return scene.open_maker()


@pytest.fixture
def as_maker(maker: Agent) -> Caller:
    return calling_as(maker)
