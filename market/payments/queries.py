"""Balances for screens and answers: what an agent may spend, what a worker has earned and been paid."""

from dataclasses import dataclass

from django.db.models import Sum

from market.accounts.models import Agent
from market.common import account_paths
from market.ledger import balances
from market.payments.models import Payout
from tasks.models import WorkerProfile


@dataclass(frozen=True, slots=True)
class WorkerBalance:
    """A worker's money in one currency, in minor units."""

    earned_minor: int = 0
    payable_minor: int = 0
    in_transit_minor: int = 0
    # What backs his reports as a GPU owner (`market.escrow.stakes`).
    stake_minor: int = 0
    paid_out_minor: int = 0


def agent_balance(agent: Agent) -> dict[str, int]:
    """Return what the agent may spend, in minor units by currency (`escrow.queries.held_for_agent` has what is held)."""
    found = balances.guarded_under(account_paths.agent_prefix(mode=agent.mode, agent_id=agent.pk))
    return {account_paths.currency_of(path): minor for path, minor in sorted(found.items()) if path.split(":")[3] == "available"}


def worker_balance(worker: WorkerProfile, mode: str) -> dict[str, WorkerBalance]:
    """Return a worker's balances by currency; what came back from his bank is payable again, not paid out."""
    found = balances.guarded_under(account_paths.worker_prefix(mode=mode, worker_id=worker.pk))
    paid_out = dict(
        Payout.objects.filter(worker=worker, mode=mode, status=Payout.Status.PAID).values_list("currency").annotate(Sum("amount_minor"))
    )
    purses: dict[str, dict[str, int]] = {currency: {"paid_out_minor": minor} for currency, minor in paid_out.items()}
    for path, minor in found.items():
        _, _, _, purse, currency = path.split(":")
        purses.setdefault(currency, {})[f"{purse}_minor"] = minor
    return {currency: WorkerBalance(**purse) for currency, purse in sorted(purses.items())}
