import dataclasses
import uuid

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from market.common import account_paths, money
from market.ledger import balances, transfers
from market.ledger.models import Account, Transfer
from tests.market.books import FEES, OUTSIDE, entry, fund, purse

pytestmark = pytest.mark.django_db

A, B, C = purse(1), purse(2), purse(3)
POSTED, EXISTS, CONFLICT, OVERDRAWN = (
    transfers.Outcome.POSTED,
    transfers.Outcome.EXISTS,
    transfers.Outcome.CONFLICT,
    transfers.Outcome.OVERDRAWN,
)


def test_post_moves_money_between_accounts_it_opens() -> None:
    moved = entry(OUTSIDE, A, 1000, key="deposit")
    assert transfers.post([moved]) == [POSTED]
    assert balances.balances([A, OUTSIDE]) == {A: 1000, OUTSIDE: -1000}
    row = Transfer.objects.select_related("source", "destination").get()
    assert (row.pk, row.source.path, row.destination.path, row.amount_minor, row.reason, row.subject) == (
        moved.id, OUTSIDE, A, 1000, "test", "test",
    )  # fmt: skip
    assert Account.objects.get(path=A).is_guarded
    assert Account.objects.get(path=OUTSIDE).balance_minor is None


def test_post_of_nothing_does_nothing() -> None:
    assert transfers.post([]) == []
    assert not Account.objects.exists()


def test_same_entry_twice_it_exists() -> None:
    moved = entry(OUTSIDE, A, 1000)
    assert transfers.post([moved]) == [POSTED]
    assert transfers.post([moved]) == [EXISTS]
    assert balances.balance(A) == 1000


@pytest.mark.parametrize(
    "other",
    [
        entry(OUTSIDE, A, 999, key="one"),
        entry(OUTSIDE, B, 1000, key="one"),
        entry(FEES, A, 1000, key="one"),
        entry(OUTSIDE, A, 1000, key="one", reason="another"),
    ],
)
def test_same_id_with_other_content_it_conflicts(other: transfers.Entry) -> None:
    transfers.post([entry(OUTSIDE, A, 1000, key="one")])
    assert transfers.post([other, entry(OUTSIDE, B, 5)]) == [CONFLICT, POSTED]
    assert balances.balances([A, B, OUTSIDE, FEES]) == {A: 1000, B: 5, OUTSIDE: -1005, FEES: 0}


def test_duplicates_inside_one_batch_count_once() -> None:
    one = entry(OUTSIDE, A, 10, key="one")
    assert transfers.post([one, one, entry(OUTSIDE, A, 11, key="one"), one]) == [POSTED, EXISTS, CONFLICT, EXISTS]
    assert balances.balance(A) == 10


def test_refused_item_leaves_its_neighbours_alone() -> None:
    fund(A, 100)
    assert transfers.post([entry(A, B, 60), entry(A, B, 60), entry(A, B, 40)]) == [POSTED, OVERDRAWN, POSTED]
    assert balances.balances([A, B]) == {A: 0, B: 100}


def test_earlier_item_pays_for_a_later_one() -> None:
    fund(A, 100)
    assert transfers.post([entry(A, B, 100), entry(B, C, 100)]) == [POSTED, POSTED]
    assert balances.balances([A, B, C]) == {A: 0, B: 0, C: 100}


def test_later_item_never_pays_for_an_earlier_one() -> None:
    fund(A, 100)
    # At the end of the batch nobody would be below zero; at its turn the first item is.
    assert transfers.post([entry(B, C, 100), entry(A, B, 100)]) == [OVERDRAWN, POSTED]
    assert balances.balances([A, B, C]) == {A: 0, B: 100, C: 0}


def test_refused_item_may_be_tried_again_later_in_the_batch() -> None:
    fund(A, 100)
    again = entry(B, C, 100, key="again")
    assert transfers.post([again, entry(A, B, 100), again, again]) == [OVERDRAWN, POSTED, POSTED, EXISTS]
    assert balances.balances([A, B, C]) == {A: 0, B: 0, C: 100}


def test_last_cent_can_be_spent_and_not_one_more() -> None:
    fund(A, 100)
    assert transfers.post([entry(A, B, 101)]) == [OVERDRAWN]
    assert transfers.post([entry(A, B, 100)]) == [POSTED]
    assert transfers.post([entry(A, B, 1)]) == [OVERDRAWN]
    assert Transfer.objects.count() == 2


def test_shared_account_goes_below_zero() -> None:
    assert transfers.post([entry(FEES, A, 7)]) == [POSTED]
    assert balances.balance(FEES) == -7


def test_currencies_do_not_mix() -> None:
    fund(A, 100)
    mixed = [entry(A, purse(2, "EUR"), 10), entry(A, B, 10, currency="EUR"), entry(A, B, 10)]
    mismatch = transfers.Outcome.CURRENCY_MISMATCH
    assert transfers.post(mixed) == [mismatch, mismatch, POSTED]
    assert balances.balances([A, B]) == {A: 90, B: 10}


def test_test_money_never_becomes_live() -> None:
    fund(A, 100)
    assert transfers.post([entry(A, purse(2, mode="live"), 10)]) == [transfers.Outcome.MODE_MISMATCH]
    assert balances.balance(A) == 100


def test_transfers_are_numbered_in_arrival_order() -> None:
    batch = [entry(OUTSIDE, purse(number), 1) for number in range(50)]
    transfers.post(batch)
    recorded = list(Transfer.objects.order_by("seq").values_list("pk", flat=True))
    assert recorded == [one.id for one in batch]


def test_large_batch_with_a_hot_account() -> None:
    batch = [entry(OUTSIDE, purse(number % 7), 3) for number in range(1000)]
    assert set(transfers.post(batch)) == {POSTED}
    assert sum(balances.balances([purse(number) for number in range(7)]).values()) == 3000


@pytest.mark.parametrize("minor", [0, -1, money.MAX_MINOR + 1])
def test_amount_out_of_range_is_a_malformed_entry(minor: int) -> None:
    with pytest.raises(transfers.MalformedEntry):
        entry(A, B, minor)


def test_entry_to_the_same_account_is_malformed() -> None:
    with pytest.raises(transfers.MalformedEntry):
        entry(A, A, 1)


def test_too_long_words_are_a_malformed_entry() -> None:
    with pytest.raises(transfers.MalformedEntry):
        transfers.Entry(uuid.uuid4(), A, B, 1, "USD", "r" * 33, "s")


@pytest.mark.parametrize("amount", [0, -5, 2**53 + 1])
def test_database_refuses_such_amounts_too(amount: int) -> None:
    call = (
        "SELECT ledger_post(ARRAY[%s, %s], ARRAY[gen_random_uuid()], ARRAY[1], ARRAY[2], ARRAY[%s]::bigint[],"
        " ARRAY['USD'], ARRAY['r'], ARRAY['s'], false)"
    )
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(call, [OUTSIDE, A, amount])
    assert not Transfer.objects.exists()


def test_database_refuses_an_account_named_twice() -> None:
    fund(A, 100)
    call = (
        "SELECT ledger_post(ARRAY[%s, %s, %s], ARRAY[gen_random_uuid(), gen_random_uuid()], ARRAY[1, 3], ARRAY[2, 2],"
        " ARRAY[60, 60]::bigint[], ARRAY['USD', 'USD'], ARRAY['r', 'r'], ARRAY['s', 's'], false)"
    )
    with pytest.raises(DatabaseError, match="each account once"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(call, [A, B, A])
    assert balances.balances([A, B]) == {A: 100, B: 0}


@pytest.mark.parametrize(("source", "destination"), [(0, 1), (1, 3)])
def test_database_refuses_a_place_without_an_account(source: int, destination: int) -> None:
    fund(A, 100)
    call = (
        "SELECT ledger_post(ARRAY[%s, %s], ARRAY[gen_random_uuid()], ARRAY[%s], ARRAY[%s], ARRAY[60]::bigint[],"
        " ARRAY['USD'], ARRAY['r'], ARRAY['s'], false)"
    )
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(call, [A, B, source, destination])
    assert balances.balances([A, B]) == {A: 100, B: 0}


def test_recorded_ids_beside_new_ones_change_nothing_for_them() -> None:
    fund(A, 100)
    before = entry(A, B, 10)
    transfers.post([before])
    new = entry(A, C, 20)
    conflicting = dataclasses.replace(before, amount_minor=11)
    assert transfers.post([new, before]) == [POSTED, EXISTS]
    assert transfers.post([conflicting, entry(A, C, 20), new]) == [CONFLICT, POSTED, EXISTS]
    assert balances.balances([A, B, C]) == {A: 50, B: 10, C: 40}


def test_hostile_words_are_only_words() -> None:
    hostile = "'); DROP TABLE x;--\\\"{}"
    moved = transfers.Entry(uuid.uuid4(), OUTSIDE, A, 5, "USD", hostile, hostile)
    assert transfers.post([moved]) == [POSTED]
    assert transfers.are_recorded([moved])
    assert Transfer.objects.get().reason == hostile


def test_effect_ids_are_the_same_for_ever_and_apart() -> None:
    assert transfers.effect_id("a", "bc") == transfers.effect_id("a", "bc")
    assert transfers.effect_id("a", "bc") != transfers.effect_id("ab", "c")


def test_sql_and_python_agree_on_guarded_accounts() -> None:
    clearing = account_paths.clearing(mode="test", provider="bank", currency="USD")
    paths = [A, OUTSIDE, FEES, clearing, account_paths.worker_earned(mode="test", worker_id=uuid.uuid4(), currency="USD")]
    # Refused for its currency, but both of its accounts are opened.
    transfers.post([entry(OUTSIDE, path, 1, currency="EUR") for path in paths if path != OUTSIDE])
    found = dict(Account.objects.values_list("path", "is_guarded"))
    assert found == {path: account_paths.is_guarded(path) for path in paths}


def test_id_with_another_currency_is_a_conflict() -> None:
    fund(A, 100)
    first = entry(A, B, 10, key="one")
    other = dataclasses.replace(first, currency="EUR")
    assert transfers.post([first, other]) == [POSTED, CONFLICT]
    assert transfers.post([other]) == [CONFLICT]
    assert balances.balances([A, B]) == {A: 90, B: 10}
