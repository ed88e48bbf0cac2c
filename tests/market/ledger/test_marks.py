import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction

from market.ledger import audit, balances, marks, transfers
from market.ledger.models import Account, BalanceMark
from tests.market.books import FEES, OUTSIDE, entry, fund, purse

A = purse(1)


@pytest.mark.django_db
def test_mark_keeps_the_balance_of_each_shared_account() -> None:
    fund(A, 100)
    transfers.post([entry(A, FEES, 30), entry(A, FEES, 5)])
    assert marks.mark() == 2
    assert {m.account.path: (int(m.balance_minor), m.upto_seq) for m in BalanceMark.objects.select_related("account")} == {
        FEES: (35, balances_seq()),
        OUTSIDE: (-100, balances_seq()),
    }


@pytest.mark.django_db
def test_balance_is_the_mark_and_what_came_after() -> None:
    fund(A, 100)
    transfers.post([entry(A, FEES, 30)])
    marks.mark()
    transfers.post([entry(A, FEES, 5), entry(FEES, A, 1)])
    assert balances.balances([A, FEES, OUTSIDE]) == {A: 66, FEES: 34, OUTSIDE: -100}
    assert audit.trial_balance() == {"USD": 0}


@pytest.mark.django_db
@pytest.mark.parametrize("read", [lambda: balances.balance(FEES), marks.mark], ids=["balance", "next mark"])
def test_nothing_before_the_mark_is_read_again(read: Callable[[], int]) -> None:
    transfers.post([entry(OUTSIDE, FEES, 1) for _ in range(1000)])
    marks.mark()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ledger_transfer")  # Which tells the planner to expect a third of them after a mark.
    transfers.post([entry(OUTSIDE, FEES, 1) for _ in range(3)])
    before = rows_read()
    read()
    # Three transfers, looked at from both sides, and a few that the planner itself looks up.
    assert rows_read() - before <= 20
    assert balances.balance(FEES) == 1003


@pytest.mark.django_db
def test_account_that_did_not_move_gets_no_new_mark() -> None:
    fund(A, 100)
    transfers.post([entry(A, FEES, 30)])
    assert marks.mark() == 2
    assert marks.mark() == 0
    transfers.post([entry(A, FEES, 5)])
    assert marks.mark() == 1
    assert balances.balance(FEES) == 35


@pytest.mark.django_db
def test_shared_accounts_are_never_updated() -> None:
    transfers.post([entry(OUTSIDE, FEES, 5)])
    before = dict(versions())
    transfers.post([entry(OUTSIDE, FEES, 5) for _ in range(20)])
    marks.mark()
    assert dict(versions()) == before


@pytest.mark.django_db
def test_command_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    fund(A, 100)
    call_command("ledger_mark")
    assert capsys.readouterr().out == "1 accounts marked.\n"


@pytest.mark.django_db(transaction=True)
def test_mark_is_not_taken_while_somebody_posts() -> None:
    """Transfers are numbered before they are committed: a mark taken now would pass over one with a lower number."""
    transfers.post([entry(OUTSIDE, FEES, 1)])
    posted, may_commit = threading.Event(), threading.Event()

    def post_slowly() -> None:
        try:
            with transaction.atomic():
                transfers.post_all([entry(OUTSIDE, FEES, 7)])
                posted.set()
                assert may_commit.wait(30)
        finally:
            posted.set()
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(post_slowly)
        assert posted.wait(30)
        transfers.post([entry(OUTSIDE, FEES, 5)])
        with pytest.raises(OperationalError, match="lock timeout"):
            marks.mark()
        may_commit.set()
        slow.result()
    assert balances.balance(FEES) == 13
    assert marks.mark() == 2
    assert balances.balance(FEES) == 13


def balances_seq() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(seq) FROM ledger_transfer")
        return int(cursor.fetchone()[0])


def rows_read() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'ledger_transfer'")
        return int(cursor.fetchone()[0])


def versions() -> list[tuple[int, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text || ctid::text FROM ledger_account WHERE NOT is_guarded")
        return list(cursor.fetchall())


@pytest.mark.django_db
def test_unused_account_has_zero() -> None:
    assert balances.balance(purse(404)) == 0
    assert not Account.objects.exists()
