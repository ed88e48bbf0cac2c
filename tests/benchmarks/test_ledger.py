import random

import pytest
from django.db import connection

from market.ledger import audit, balances
from market.ledger.models import Transfer
from tests import processes
from tests.benchmarks.ledgers import comparison, ours, plain_orm, sides
from tests.faults import campaign


@pytest.mark.django_db
def test_every_way_of_ours_moves_what_it_says() -> None:
    ours.prepare()
    moved = {way: ours.WAYS[way](random.Random(way)) for way in sides.WAYS["ours"]}
    assert moved == {
        "one at a time": 1,
        "one at a time into one account": 1,
        "batches of 100": 100,
        "batches of 1,000": 1_000,
        "batches of 1,000 into one account": 1_000,
        "batches of 1,000 into the shared fees": 1_000,
        "batches of 1,000 decided item by item": 999,
        "batches of 5,000": 5_000,
    }
    assert balances.balance(ours.FEES) == 1_000
    proved = audit.audit()
    assert (proved.transfer_count, proved.breaches) == (ours.ACCOUNTS + sum(moved.values()), ())


@pytest.mark.django_db
def test_the_plain_ledger_keeps_its_sum() -> None:
    plain_orm.prepare()
    assert [plain_orm.WAYS[way](random.Random(way)) for way in sides.WAYS["plain ORM"]] == [1, 1]
    held = sum(plain_orm.PlainAccount._default_manager.values_list("balance_minor", flat=True))
    assert (plain_orm.PlainTransfer._default_manager.count(), held) == (2, plain_orm.ACCOUNTS * 10**9)


@pytest.mark.django_db(transaction=True)
def test_two_processes_move_at_once() -> None:
    side = sides.Side("ours", "ours", processes.database_url(), "market.config.settings")
    try:
        side.start(seed=1)
        count, a_second = side.measure("batches of 100", width=2, seconds=0.1)
    finally:
        side.stop()
    assert count >= 200
    assert a_second > 0
    # And a move of each process that warms it up.
    assert Transfer.objects.count() == ours.ACCOUNTS + count + 200


@pytest.mark.broken_books
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fault", "breach"),
    [
        ("UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE path = %s", "stored balance differs"),
        (
            "DELETE FROM ledger_transfer WHERE id = (SELECT max(id::text)::uuid FROM ledger_transfer) AND %s <> ''",
            "stored balance differs",
        ),
    ],
)
def test_finds_a_planted_fault_in_the_books(fault: str, breach: str) -> None:
    ours.prepare()
    ours.WAYS["batches of 100"](random.Random(1))
    honest, report = campaign.Report(), campaign.Report()
    comparison.prove(honest)
    with connection.cursor() as cursor:
        # What is still deferred would keep the tables from being altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("ledger_account", "ledger_transfer"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(fault, [ours.HOT])
    comparison.prove(report)
    assert honest.violations == []
    assert any(violation.startswith(breach) for violation in report.violations)
