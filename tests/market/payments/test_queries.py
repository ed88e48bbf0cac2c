import datetime

import pytest

from market.common.money import Money
from market.payments import earnings, queries, sweeping
from market.payments.queries import WorkerBalance
from tasks import clock
from tests.market.payments.purses import ask, earn, worker_with

pytestmark = pytest.mark.django_db


def sweep_by_the_minute() -> None:
    for minute in range(3):
        sweeping.sweep(now=clock.now() + datetime.timedelta(minutes=minute))


def test_worker_sees_every_step_of_his_money() -> None:
    worker = worker_with(1500)
    earn(worker, 300)
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(300, 1500, 0, 0)}
    ask(worker)
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(300, 500, 1000, 0)}
    sweep_by_the_minute()
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(earned_minor=300, payable_minor=500, paid_out_minor=1000)}
    assert queries.worker_balance(worker, "live") == {}


def test_returned_payout_is_payable_again_and_not_paid_out() -> None:
    worker = worker_with(1000)
    ask(worker, "test_returned")
    sweep_by_the_minute()
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(0, 1000, 0, 0)}


def test_worker_without_money_has_no_currencies() -> None:
    worker = worker_with(10)
    other = worker_with(20)
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(payable_minor=10)}
    assert queries.worker_balance(other, "test") == {"USD": WorkerBalance(payable_minor=20)}


def test_earned_money_matures_once() -> None:
    worker = worker_with(5)
    earn(worker, 300)
    for _ in range(2):
        earnings.mature(worker_id=worker.pk, mode="test", currency="USD", amount_minor=200, effect="set_1")
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(earned_minor=100, payable_minor=205)}


@pytest.mark.parametrize(("minor", "effect"), [(101, "set_2"), (199, "set_1")])
def test_what_was_not_earned_never_matures(minor: int, effect: str) -> None:
    worker = worker_with(5)
    earn(worker, 300)
    earnings.mature(worker_id=worker.pk, mode="test", currency="USD", amount_minor=200, effect="set_1")
    with pytest.raises(earnings.NotEarned):
        earnings.mature(worker_id=worker.pk, mode="test", currency="USD", amount_minor=minor, effect=effect)
    assert queries.worker_balance(worker, "test") == {"USD": WorkerBalance(earned_minor=100, payable_minor=205)}


def test_earned_money_can_not_be_paid_out() -> None:
    worker = worker_with(5)
    earn(worker, 300)
    with pytest.raises(Exception, match="payable"):
        ask(worker, amount=Money(6, "USD"))
