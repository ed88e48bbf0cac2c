import functools

import pytest
from django.db import connection, transaction

from market.common import retrying
from market.ledger import balances, transfers
from market.ledger.models import Transfer
from tests import racing
from tests.market import in_turn
from tests.market.books import FEES, OUTSIDE, entry, fund, purse

pytestmark = pytest.mark.django_db(transaction=True)

A, B, C, D = purse(1), purse(2), purse(3), purse(4)
POSTED, EXISTS, CONFLICT, OVERDRAWN = (
    transfers.Outcome.POSTED,
    transfers.Outcome.EXISTS,
    transfers.Outcome.CONFLICT,
    transfers.Outcome.OVERDRAWN,
)


def post(*entries: transfers.Entry) -> functools.partial[list[transfers.Outcome]]:
    return functools.partial(transfers.post, entries)


def test_same_id_at_once_has_one_effect() -> None:
    fund(A, 100)
    moved = entry(A, B, 60)
    assert in_turn.second_waits_for(post(moved), post(moved)) == [[POSTED], [EXISTS]]
    assert balances.balances([A, B]) == {A: 40, B: 60}


def test_same_id_at_once_between_shared_accounts_has_one_effect() -> None:
    # No guarded account makes the second wait: the unique id does.
    moved = entry(OUTSIDE, FEES, 60)
    assert in_turn.second_waits_for(post(moved), post(moved, entry(OUTSIDE, FEES, 5))) == [[POSTED], [EXISTS, POSTED]]
    assert balances.balances([OUTSIDE, FEES]) == {OUTSIDE: -65, FEES: 65}


def test_repeats_of_an_id_that_was_lost_are_compared_with_what_was_recorded() -> None:
    outcomes = in_turn.second_waits_for(
        post(entry(OUTSIDE, FEES, 60, key="one")),
        post(entry(OUTSIDE, FEES, 61, key="one"), entry(OUTSIDE, FEES, 60, key="one"), entry(OUTSIDE, FEES, 5)),
    )
    assert outcomes == [[POSTED], [CONFLICT, EXISTS, POSTED]]
    assert balances.balances([OUTSIDE, FEES]) == {OUTSIDE: -65, FEES: 65}


def test_same_id_for_other_accounts_at_once_conflicts() -> None:
    fund(A, 100)
    fund(C, 100)
    outcomes = in_turn.second_waits_for(
        post(entry(A, B, 60, key="one")),
        post(entry(C, D, 7, key="one"), entry(C, D, 8), entry(C, D, 7, key="one")),
    )
    assert outcomes == [[POSTED], [CONFLICT, POSTED, CONFLICT]]
    assert balances.balances([A, B, C, D]) == {A: 40, B: 60, C: 92, D: 8}


def test_item_that_counted_on_a_lost_id_is_decided_again() -> None:
    fund(C, 10)
    # D has nothing until C's transfer, whose id the first batch takes; alone, D's would overdraw it.
    outcomes = in_turn.second_waits_for(
        post(entry(OUTSIDE, FEES, 1, key="one")),
        post(entry(C, D, 10, key="one"), entry(D, B, 10)),
    )
    assert outcomes == [[POSTED], [CONFLICT, OVERDRAWN]]
    assert balances.balances([B, C, D]) == {B: 0, C: 10, D: 0}


def test_all_or_nothing_that_lost_an_id_moves_nothing() -> None:
    fund(C, 13)

    def post_all() -> list[transfers.Outcome]:
        retrying.in_transaction(lambda: transfers.post_all([entry(C, D, 3), entry(C, D, 10, key="one")]))
        return []

    first, second = in_turn.second_waits_for(post(entry(OUTSIDE, FEES, 1, key="one")), post_all)
    assert first == [POSTED]
    assert isinstance(second, transfers.TransferConflict)
    assert balances.balances([C, D]) == {C: 13, D: 0}


def test_two_who_spend_the_same_money_one_is_overdrawn() -> None:
    fund(A, 100)
    assert in_turn.second_waits_for(post(entry(A, B, 60)), post(entry(A, C, 60))) == [[POSTED], [OVERDRAWN]]
    assert balances.balances([A, B, C]) == {A: 40, B: 60, C: 0}


def test_same_new_account_is_opened_once() -> None:
    assert in_turn.second_waits_for(post(entry(OUTSIDE, A, 1)), post(entry(OUTSIDE, A, 2))) == [[POSTED], [POSTED]]
    assert balances.balance(A) == 3


def test_same_ids_in_opposite_order_do_not_deadlock() -> None:
    batch = [entry(OUTSIDE, FEES, 1) for _ in range(200)]
    outcomes = racing.together([post(*batch), post(*reversed(batch))])
    assert sorted(outcome for result in outcomes if isinstance(result, list) for outcome in result) == [EXISTS] * 200 + [POSTED] * 200
    assert balances.balance(FEES) == 200


def test_sixteen_who_shuffle_money_in_both_directions_keep_the_sum() -> None:
    paths = [purse(number) for number in range(4)]
    for path in paths:
        fund(path, 20)
    batches = [[entry(paths[(n + m) % 4], paths[(n * m + 1 + n + m) % 4], 5) for m in range(1, 9) if (n * m + 1) % 4] for n in range(16)]
    outcomes = racing.together([post(*batch) for batch in batches])
    assert all(isinstance(result, list) for result in outcomes), outcomes
    assert sum(balances.balances(paths).values()) == 80
    posted = sum(result.count(POSTED) for result in outcomes if isinstance(result, list))
    assert Transfer.objects.count() == 4 + posted


def test_fifty_spenders_of_ten_coins_ten_win() -> None:
    fund(A, 10)
    outcomes = racing.together([post(entry(A, purse(100 + n), 1)) for n in range(50)])
    assert sorted(result[0] for result in outcomes if isinstance(result, list)) == [OVERDRAWN] * 40 + [POSTED] * 10
    assert balances.balance(A) == 0


def test_repeatable_read_caller_is_told_to_try_again_and_does() -> None:
    fund(A, 100)

    def spend() -> list[transfers.Outcome]:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1")
        return transfers.post([entry(A, C, 10)])

    def other() -> list[transfers.Outcome]:
        return retrying.in_transaction(spend)

    assert in_turn.second_waits_for(post(entry(A, B, 60)), other) == [[POSTED], [POSTED]]
    assert balances.balances([A, B, C]) == {A: 30, B: 60, C: 10}


def test_transactions_that_lock_in_opposite_order_both_succeed() -> None:
    fund(A, 100)
    fund(B, 100)

    def move(one: str, other: str) -> None:
        def work() -> None:
            transfers.post_all([entry(one, C, 1)])
            transfers.post_all([entry(other, C, 1)])

        for _ in range(10):
            retrying.in_transaction(work)

    assert racing.together([lambda: move(A, B), lambda: move(B, A)]) == [None, None]
    assert balances.balances([A, B, C]) == {A: 80, B: 80, C: 40}


def test_rolled_back_rival_leaves_the_id_free() -> None:
    fund(A, 100)
    moved = entry(A, B, 60)

    def give_up() -> list[transfers.Outcome]:
        outcome = transfers.post([moved])
        transaction.set_rollback(True)
        return outcome

    assert in_turn.second_waits_for(give_up, post(moved)) == [[POSTED], [POSTED]]
    assert balances.balances([A, B]) == {A: 40, B: 60}
