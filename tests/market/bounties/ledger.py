"""Balances in a test's words."""

from market.accounts.models import Agent
from market.bounties.models import Bounty
from market.common import account_paths
from market.escrow import queries
from market.ledger import balances
from tasks.models import WorkerProfile


def available(agent: Agent, currency: str = "USD") -> int:
    """Return what the agent may spend, in minor units."""
    return balances.balance(account_paths.agent_available(mode=agent.mode, agent_id=agent.pk, currency=currency))


def held(bounty: Bounty) -> int:
    """Return what is held for the bounty."""
    return queries.totals(bounty.pk).held_minor


def earned(worker: WorkerProfile, currency: str = "USD") -> int:
    """Return what the worker has earned and can't be paid yet."""
    return balances.balance(account_paths.worker_earned(mode=worker.mode, worker_id=worker.pk, currency=currency))


def payable(worker: WorkerProfile, currency: str = "USD") -> int:
    """Return what the worker may have paid out."""
    return balances.balance(account_paths.worker_payable(mode=worker.mode, worker_id=worker.pk, currency=currency))


def fees(currency: str = "USD") -> int:
    """Return the platform's fees."""
    return balances.balance(account_paths.platform_fees(mode="test", currency=currency))
