"""Stories with real commits, so that threads and processes meet."""

import datetime

import pytest

from market.accounts.models import Agent
from tasks import clock
from tests import people


@pytest.fixture
def rich_agent(transactional_db: None) -> Agent:
    agent = people.open_agent()
    people.top_up(agent, "10000.00")
    return agent


@pytest.fixture
def now() -> datetime.datetime:
    return clock.now()
