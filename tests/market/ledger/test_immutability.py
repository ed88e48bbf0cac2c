import uuid

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.db.models import F

from market.ledger import balances, marks, transfers
from market.ledger.models import Account, BalanceMark, Transfer
from tests.market.books import FEES, OUTSIDE, entry, fund, purse

pytestmark = pytest.mark.django_db

A, B = purse(1), purse(2)


def refused(statement: str) -> None:
    with pytest.raises(IntegrityError, match="is refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def moved() -> Transfer:
    fund(A, 100)
    transfers.post([entry(OUTSIDE, FEES, 5)])
    marks.mark()
    return Transfer.objects.get(destination__path=A)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfer SET amount_minor = 1",
        "UPDATE ledger_transfer SET reason = 'x' WHERE false",
        "DELETE FROM ledger_transfer",
        "DELETE FROM ledger_account",
        "DELETE FROM ledger_balancemark",
        "UPDATE ledger_balancemark SET balance_minor = 0",
        "UPDATE ledger_account SET balance_minor = 1000000 WHERE is_guarded",
        "INSERT INTO ledger_account (path, currency, is_guarded, balance_minor) VALUES ('x:y:z:USD', 'USD', true, 5)",
        "INSERT INTO ledger_transfer (id, seq, source_id, destination_id, amount_minor, reason, subject)"
        " SELECT gen_random_uuid(), 10000, min(id), max(id), 5, 'x', 'x' FROM ledger_account",
        "INSERT INTO ledger_balancemark (account_id, upto_seq, balance_minor) SELECT min(id), 1, 5 FROM ledger_account",
        "INSERT INTO ledger_transfer SELECT * FROM ledger_transfer ON CONFLICT DO NOTHING",
        "MERGE INTO ledger_transfer t USING ledger_transfer s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM ledger_transfer RETURNING 1) SELECT count(*) FROM gone",
    ],
)
@pytest.mark.usefixtures("moved")
def test_every_other_write_is_refused(statement: str) -> None:
    refused(statement)
    assert balances.balances([A, FEES, OUTSIDE]) == {A: 100, FEES: 5, OUTSIDE: -105}


@pytest.mark.parametrize("table", ["ledger_transfer", "ledger_account", "ledger_balancemark"])
@pytest.mark.usefixtures("moved")
def test_truncate_is_refused_but_to_the_flush_of_a_test_database(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL ledger.is_strict = 'on'")
    refused(f"TRUNCATE {table} CASCADE")
    assert Transfer.objects.count() == 2


def test_orm_can_not_write_either(moved: Transfer) -> None:
    for write in (
        lambda: Account.objects.filter(path=A).update(balance_minor=F("balance_minor") + 1),
        lambda: moved.delete(),
        lambda: moved.save(),
        lambda: BalanceMark.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            write()
    assert balances.balance(A) == 100


def test_writer_setting_ends_with_the_function(moved: Transfer) -> None:
    assert transfers.post([entry(A, B, 1)]) == [transfers.Outcome.POSTED]
    refused("UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE is_guarded")


@pytest.mark.usefixtures("moved")
def test_role_without_the_tables_posts_and_can_write_nothing_else() -> None:
    """The production setting: the tables belong to one role, the processes are another."""
    signature = "text[], uuid[], integer[], integer[], bigint[], text[], text[], text[], boolean"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL createrole_self_grant = 'set'")  # Or its maker could not play the role.
        cursor.execute(f"CREATE ROLE ledger_teller_{uuid.uuid4().hex}")  # Rolled back with the test.
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ledger_teller_%'")
        role = cursor.fetchone()[0]
        cursor.execute(f"REVOKE EXECUTE ON FUNCTION ledger_post({signature}) FROM PUBLIC")
        cursor.execute(f"GRANT EXECUTE ON FUNCTION ledger_post({signature}) TO {role}")
        cursor.execute(f"GRANT SELECT ON ledger_account, ledger_transfer, ledger_balancemark TO {role}")
        cursor.execute(f"SET LOCAL ROLE {role}")
        assert transfers.post([entry(A, B, 1)]) == [transfers.Outcome.POSTED]
        assert balances.balance(B) == 1
        for statement in (
            "SET ledger.writer = 'on'; UPDATE ledger_account SET balance_minor = 5 WHERE is_guarded",
            "DELETE FROM ledger_transfer",
            "ALTER TABLE ledger_transfer DISABLE TRIGGER ALL",
            "TRUNCATE ledger_transfer",
        ):
            with pytest.raises(ProgrammingError), transaction.atomic():
                cursor.execute(statement)
        cursor.execute("RESET ROLE")


@pytest.mark.django_db(transaction=True)
def test_database_is_flushed_after_a_test_that_commits() -> None:
    # The next test of this file would see these; nothing but Django's own flush takes them away.
    fund(A, 100)
    assert Transfer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_database_was_flushed() -> None:
    assert not Transfer.objects.exists()
    assert not Account.objects.exists()
