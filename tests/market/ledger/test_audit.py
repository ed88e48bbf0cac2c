from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection

from market.ledger import audit, marks, transfers
from tests.market.books import FEES, entry, fund, purse

pytestmark = pytest.mark.django_db

A, B = purse(1), purse(2)


@contextmanager
def without_triggers() -> Iterator[None]:
    """Be the owner who means it: what the triggers can't stop, the audit must find."""
    tables = ("ledger_account", "ledger_transfer", "ledger_balancemark")
    with connection.cursor() as cursor:
        # What is still deferred would keep the tables from being altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.fixture(autouse=True)
def some_history() -> None:
    fund(A, 100)
    transfers.post([entry(A, B, 40), entry(A, FEES, 10)])
    marks.mark()
    transfers.post([entry(B, FEES, 1)])


def test_honest_books_have_no_breach(capsys: pytest.CaptureFixture[str]) -> None:
    report = audit.audit()
    assert (report.account_count, report.transfer_count, report.breaches) == (4, 4, ())
    assert audit.trial_balance() == {"USD": 0}
    assert audit.trial_balance("test") == {"USD": 0}
    assert audit.trial_balance("live") == {}
    call_command("ledger_audit")
    assert capsys.readouterr().out == f"4 transfers, 4 accounts, {len(report.checks)} checks of other apps: 0 differences.\n"


def test_checks_of_the_apps_above_are_found() -> None:
    assert {name.rpartition(".")[0] for name in audit.audit().checks} >= {"market.escrow.ledger_checks", "market.payments.ledger_checks"}


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("statement", "path", "breaches"),
    [
        (
            "UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE path = %s",
            A,
            {f"stored balance differs: {A}: stored 51, transfers make 50", "trial balance is not zero: test USD: 1 minor units"},
        ),
        (
            "UPDATE ledger_transfer SET amount_minor = 41 WHERE destination_id = (SELECT id FROM ledger_account WHERE path = %s)",
            B,
            {
                f"stored balance differs: {A}: stored 50, transfers make 49",
                f"stored balance differs: {B}: stored 39, transfers make 40",
            },
        ),
        (
            "UPDATE ledger_balancemark SET balance_minor = 9 WHERE account_id = (SELECT id FROM ledger_account WHERE path = %s)",
            FEES,
            {f"mark differs: {FEES}: marked 9, transfers make 10", "trial balance is not zero: test USD: -1 minor units"},
        ),
        (
            "UPDATE ledger_account SET currency = 'EUR' WHERE path = %s",
            FEES,
            {
                f"account is not what its path says: {FEES}: currency EUR, guarded f",
                "trial balance is not zero: test EUR: 11 minor units",
                "trial balance is not zero: test USD: -11 minor units",
            },
        ),
    ],
)
def test_every_tampering_is_named(statement: str, path: str, breaches: set[str]) -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute(statement, [path])
    found = {line for line in audit.audit().breaches if not line.startswith("transfer between currencies")}
    assert found == breaches


@pytest.mark.broken_books
def test_deleted_transfer_is_named() -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_transfer WHERE destination_id = (SELECT id FROM ledger_account WHERE path = %s)", [B])
    assert audit.audit().breaches == (
        "guarded account is below zero: " + B + ": transfers make -1",
        f"stored balance differs: {A}: stored 50, transfers make 90",
        f"stored balance differs: {B}: stored 39, transfers make -1",
    )


@pytest.mark.broken_books
def test_deleted_account_is_named() -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_account WHERE path = %s RETURNING id", [B])
        account_id = cursor.fetchone()[0]
    assert set(audit.audit().breaches) == {
        f"transfers without their account: account {account_id}: 39 minor units",
        "trial balance is not zero: test USD: -39 minor units",
    }


@pytest.mark.broken_books
def test_transfer_between_modes_is_named() -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_account SET path = 'live:' || substr(path, 6) WHERE path = %s", [B])
    assert sum(line.startswith("transfer between currencies or modes") for line in audit.audit().breaches) == 2


@pytest.mark.broken_books
def test_command_names_the_differences_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_account SET balance_minor = 49 WHERE path = %s", [A])
    with pytest.raises(SystemExit) as ended:
        call_command("ledger_audit")
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert f"stored balance differs: {A}: stored 49, transfers make 50" in told.err.splitlines()
    assert "2 differences." in told.out
