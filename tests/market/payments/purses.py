"""A worker who has something payable, as deposits and holds would have made it, and his money at a glance."""

import uuid

from market.accounts.models import User
from market.common import account_paths
from market.common.money import Money
from market.ledger import balances, transfers
from market.payments import earnings, payouts
from market.payments.models import Payout
from tasks import clock
from tasks.models import WorkerProfile
from tests.market.books import OUTSIDE, entry

TEN = Money(1000, "USD")


def earn(worker: WorkerProfile, minor: int) -> None:
    """Give a worker earned money."""
    path = account_paths.worker_earned(mode="test", worker_id=worker.pk, currency="USD")
    assert transfers.post([entry(OUTSIDE, path, minor)]) == [transfers.Outcome.POSTED]


def worker_with(minor: int, country: str = "DE") -> WorkerProfile:
    """Make a worker with payable money."""
    user = User.objects.create_user(username=uuid.uuid4().hex)
    worker = WorkerProfile.objects.create(user=user, country=country)
    earn(worker, minor)
    earnings.mature(worker_id=worker.pk, mode="test", currency="USD", amount_minor=minor, effect=f"set_{uuid.uuid4().hex}")
    return worker


def ask(worker: WorkerProfile, destination: str = "test_ok", amount: Money = TEN, request_id: uuid.UUID | None = None) -> Payout:
    """Request a payout."""
    return payouts.request(
        worker=worker, mode="test", destination=destination, amount=amount, request_id=request_id or uuid.uuid4(), now=clock.now()
    )


def purse_of(worker: WorkerProfile) -> tuple[int, int]:
    """Return what is payable and what is in transit."""
    payable = account_paths.worker_payable(mode="test", worker_id=worker.pk, currency="USD")
    in_transit = account_paths.worker_in_transit(mode="test", worker_id=worker.pk, currency="USD")
    found = balances.balances([payable, in_transit])
    return found[payable], found[in_transit]


def clearing() -> int:
    """Return what has gone out of the market through the test bank, less what came in."""
    return balances.balance(account_paths.clearing(mode="test", provider="test_money", currency="USD"))
