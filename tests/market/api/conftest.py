"""Callers of the API: an agent with money, a worker, a machine that is trusted with photos, and somebody else."""

import pytest

from market.accounts import keys
from market.accounts.models import Agent, User
from market.config import rates
from tasks.models import WorkerProfile
from tests import people
from tests.market.api.caller import Caller, calling_as


@pytest.fixture(autouse=True)
def no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests call as fast as they can: all of them come from one network."""
    for name in ("READS", "WRITES", "LEASE_CALLS", "WITHOUT_KEY", "REFUSED_KEYS", "PAGES", "HEALTH_CALLS", "SIGN_INS"):
        monkeypatch.setattr(rates, name, 10**9)


@pytest.fixture
def as_agent(agent: Agent) -> Caller:
    return calling_as(agent)


@pytest.fixture
def as_worker(worker: WorkerProfile) -> Caller:
    return calling_as(worker)


@pytest.fixture
def as_machine(db: None) -> Caller:
    operator = User.objects.create_user("operator")
    return Caller(keys.issue(user=operator, agent=None, mode="test", scope="lease:vision", name="gpu", is_trusted=True)[1])


@pytest.fixture
def as_other_agent(db: None) -> Caller:
    other = people.open_agent("other")
    people.top_up(other)
    return calling_as(other)


@pytest.fixture
def as_other_worker(db: None) -> Caller:
    return calling_as(people.open_worker("bo"))
