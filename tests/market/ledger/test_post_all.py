import pytest
from django.db import transaction

from market.ledger import balances, transfers
from market.ledger.models import Transfer
from tests.market.books import OUTSIDE, entry, fund, purse

pytestmark = pytest.mark.django_db

A, B, C = purse(1), purse(2), purse(3)


def test_post_all_moves_everything() -> None:
    fund(A, 100)
    transfers.post_all([entry(A, B, 30), entry(A, C, 70)])
    assert balances.balances([A, B, C]) == {A: 0, B: 30, C: 70}


def test_overdraft_moves_nothing_even_when_the_caller_goes_on() -> None:
    fund(A, 100)
    with transaction.atomic():
        with pytest.raises(transfers.Overdrawn) as refused:
            transfers.post_all([entry(A, B, 60, key="first"), entry(A, C, 60, key="second")])
        # Still inside the caller's transaction: nothing of the refused batch is there to be committed.
        assert balances.balances([A, B, C]) == {A: 100, B: 0, C: 0}
    assert refused.value.entry.id == transfers.effect_id("test", "second")
    assert Transfer.objects.count() == 1


def test_repeat_moves_nothing() -> None:
    fund(A, 100)
    batch = [entry(A, B, 30), entry(A, C, 70)]
    transfers.post_all(batch)
    transfers.post_all(batch)
    assert balances.balances([A, B, C]) == {A: 0, B: 30, C: 70}


def test_used_id_moves_nothing() -> None:
    fund(A, 100)
    transfers.post_all([entry(A, B, 10, key="one")])
    with pytest.raises(transfers.TransferConflict):
        transfers.post_all([entry(A, C, 5), entry(A, B, 11, key="one")])
    assert balances.balances([A, B, C]) == {A: 90, B: 10, C: 0}


def test_other_currency_moves_nothing() -> None:
    fund(A, 100)
    with pytest.raises(transfers.TransferConflict):
        transfers.post_all([entry(A, B, 5), entry(A, purse(2, "EUR"), 5)])
    assert balances.balance(A) == 100


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_it_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        transfers.post_all([entry(OUTSIDE, A, 1)])
    assert not Transfer.objects.exists()
