"""The cast of the tests: agent, worker, verifier and stranger, and how more of them are made."""

import uuid

import pytest

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.common.money import Money
from market.payments import deposits
from market.payments.models import Deposit
from tasks import clock
from tasks.models import WorkerProfile


def open_user(name: str) -> User:
    """Make an account; many may share the name."""
    return User.objects.create_user(username=f"{name}-{uuid.uuid4().hex[:12]}")


def open_agent(
    name: str = "shop-watcher",
    *,
    user: User | None = None,
    mode: str = "test",
    limit_per_bounty_minor: int | None = None,
    limit_per_day_minor: int | None = None,
) -> Agent:
    """Make an agent without money, its owner and its first API key."""
    owner = user or open_user(name)
    agent = Agent.objects.create(owner=owner, name=name, mode=mode)
    keys.issue(
        user=owner,
        agent=agent,
        mode=mode,
        scope=ApiKey.Scope.AGENT,
        name="first key",
        limit_per_bounty_minor=limit_per_bounty_minor,
        limit_per_day_minor=limit_per_day_minor,
    )
    return agent


def top_up(agent: Agent, amount: str = "1000.00", currency: str = "USD") -> Deposit:
    """Deposit test money; the test bank confirms it."""
    deposit = deposits.request(agent=agent, amount=Money.parse(amount, currency), now=clock.now())
    assert deposit.status == Deposit.Status.CONFIRMED
    return deposit


def open_worker(name: str = "ana", *, accepted_count: int = 0, user: User | None = None, mode: str = "test") -> WorkerProfile:
    """Make a worker with a record of ``accepted_count`` accepted submissions."""
    return WorkerProfile.objects.create(user=user or open_user(name), mode=mode, accepted_count=accepted_count, country="DE")


def key_of(agent: Agent) -> ApiKey:
    """Return the agent's first API key."""
    return agent.api_keys.order_by("id")[0]


def secret_of(someone: Agent | WorkerProfile) -> str:
    """Issue a new API key to an agent or a worker and return its secret."""
    if isinstance(someone, Agent):
        return keys.issue(user=someone.owner, agent=someone, mode=someone.mode, scope=ApiKey.Scope.AGENT, name="another key")[1]
    user = User.objects.get(pk=someone.pk)
    return keys.issue(user=user, agent=None, mode=someone.mode, scope=ApiKey.Scope.WORKER, name="phone")[1]


@pytest.fixture
def agent(db: None) -> Agent:
    """An agent with 1,000.00 USD of confirmed test money."""
    someone = open_agent()
    top_up(someone)
    return someone


@pytest.fixture
def worker(db: None) -> WorkerProfile:
    """A worker without a record."""
    return open_worker()


@pytest.fixture
def verifier(db: None) -> User:
    """A person who reviews cases."""
    return User.objects.create_user(username="verifier", is_staff=True)


@pytest.fixture
def stranger(db: None) -> User:
    """Somebody else, with an agent and a worker's profile of his own, who must get at nothing of the others'."""
    user = User.objects.create_user(username="stranger")
    open_agent("stranger", user=user)
    open_worker("stranger", user=user)
    return user
