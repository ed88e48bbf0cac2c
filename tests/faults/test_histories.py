"""Histories of transactions: the checker names what is wrong with hand-made ones, and finds nothing wrong with ours."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from django.db import connection

from market.ledger import balances, transfers
from tests.faults import campaign, elle, ledger_histories, list_histories
from tests.faults.elle import Append, Kind, Read, Transaction

Operations = tuple[Append | Read, ...]


def kinds(*transactions: Operations, orders: dict[str, list[int]], rolled_back: tuple[int, ...] = ()) -> list[Kind]:
    """Return what is wrong with transactions that are numbered from 0."""
    numbered = [Transaction(number, done, number not in rolled_back) for number, done in enumerate(transactions)]
    return [anomaly.kind for anomaly in elle.check(numbered, orders)]


def a(key: str, value: int) -> Append:
    return Append(key, value)


def r(key: str, count: int) -> Read:
    return Read(key, count)


@pytest.mark.parametrize(
    ("transactions", "orders", "wrong"),
    [
        pytest.param([(a("x", 1), a("y", 1)), (a("x", 2), a("y", 2))], {"x": [1, 2], "y": [2, 1]}, Kind.G0, id="G0"),
        pytest.param([(a("x", 1), r("y", 1)), (a("y", 1), r("x", 1))], {"x": [1], "y": [1]}, Kind.G1C, id="G1c"),
        pytest.param([(a("x", 1), a("x", 2)), (r("x", 1), a("y", 1))], {"x": [1, 2], "y": [1]}, Kind.G1B, id="G1b"),
        pytest.param([(a("x", 1), a("y", 1)), (r("x", 1), r("y", 0))], {"x": [1], "y": [1]}, Kind.G_SINGLE, id="G-single, read skew"),
        pytest.param([(r("x", 0), a("x", 1)), (r("x", 0), a("x", 2))], {"x": [1, 2]}, Kind.G_SINGLE, id="G-single, lost update"),
        pytest.param([(r("x", 0), a("y", 1)), (r("y", 0), a("x", 1))], {"x": [1], "y": [1]}, Kind.G2, id="G2, write skew"),
        pytest.param(
            [(r("x", 0), a("y", 1)), (r("y", 0), a("z", 1)), (r("z", 0), a("x", 1))],
            {"x": [1], "y": [1], "z": [1]},
            Kind.G2,
            id="G2 of three",
        ),
        pytest.param([(a("x", 1), r("x", 0))], {"x": [1]}, Kind.INTERNAL, id="own append not seen"),
        pytest.param([(a("x", 1),)], {"x": []}, Kind.LOST, id="lost append"),
        pytest.param([(a("x", 1),)], {"x": [1, 1]}, Kind.TWICE, id="element twice"),
        pytest.param([(r("x", 1),)], {"x": [1]}, Kind.UNWRITTEN, id="element of nobody"),
    ],
)
def test_checker_names(transactions: list[Operations], orders: dict[str, list[int]], wrong: Kind) -> None:
    found = kinds(*transactions, orders=orders)
    assert wrong in found
    if wrong in (Kind.G0, Kind.G1C, Kind.G_SINGLE, Kind.G2, Kind.G1B):
        # A knot is named once, by its worst cycle; reading half of another is a cycle as well.
        assert set(found) <= {wrong, Kind.G_SINGLE} if wrong == Kind.G1B else found == [wrong]


def test_checker_names_a_read_of_what_was_rolled_back() -> None:
    assert kinds((a("x", 1),), (r("x", 1),), orders={"x": [1]}, rolled_back=(0,)) == [Kind.G1A]


def test_checker_takes_any_serial_history() -> None:
    """Each reads all there is and appends to every key, in an order that is not that of the numbers."""
    transactions = [(r("x", 9 - n), r("y", 9 - n), a("x", n), r("x", 10 - n), a("y", n)) for n in range(10)]
    assert kinds(*transactions, orders={"x": [*range(9, -1, -1)], "y": [*range(9, -1, -1)]}) == []


def test_checker_takes_a_long_chain() -> None:
    """Deeper than Python's own stack."""
    transactions: list[Operations] = [(r("x", n), a("x", n)) for n in range(20_000)]
    assert kinds(*transactions, orders={"x": [*range(20_000)]}) == []
    transactions[-1] = (r("y", 0), a("x", 19_999))
    transactions[0] = (r("x", 0), a("x", 0), a("y", 1))
    assert kinds(*transactions, orders={"x": [*range(20_000)], "y": [1]}) == [Kind.G_SINGLE]


def test_checker_tells_a_list_from_another() -> None:
    assert elle.read_of_list("x", [1, 2], [1, 2, 3]) == Read("x", 2)
    assert elle.read_of_list("x", [2], [1, 2, 3]) is None
    assert elle.read_of_list("x", [1, 2], [1]) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", list_histories.Way)
def test_lists_show_what_their_level_is_known_for(way: list_histories.Way) -> None:
    """With our guards nothing is wrong; where anomalies must be found, so many transactions are run as that takes."""
    report = campaign.Report()
    for seed in range(20):
        report = campaign.Report()
        list_histories.check_expected(way, seed=seed, count=800, report=report)
        if not report.violations or way in (list_histories.Way.LOCKED, list_histories.Way.SERIALIZABLE):
            break
    assert report.violations == []


@pytest.mark.django_db(transaction=True)
def test_ledger_has_a_serial_order() -> None:
    report = ledger_histories.check(seed=1, count=3_000)
    assert report.violations == []
    assert (report.figures["ledger transactions"], report.figures["cycles over money keys"]) == (3_008, 0)


@pytest.mark.django_db(transaction=True)
def test_ledger_read_in_two_statements_has_none() -> None:
    """A control: balances that are not of one moment."""

    def read_each(paths: Iterable[str]) -> dict[str, int]:
        return {path: balances.balance(path) for path in paths}

    assert any("G-single" in each for each in violations_of_some_seed(read_each))


@pytest.mark.broken_books
@pytest.mark.django_db(transaction=True)
def test_ledger_without_its_row_locks_is_found_out() -> None:
    """A control: the ledger's own function, but for the lock it takes before it decides."""
    whole = (Path(transfers.__file__).parent / "migrations/0002_ledger_post.sql").read_text(encoding="utf-8")
    guarded = re.search(r"CREATE FUNCTION ledger_post\(.*?\n\$\$;", whole, re.DOTALL)
    assert guarded
    unguarded, removed = re.subn(r"FOR NO KEY UPDATE( OF \w+)?", "", guarded[0])
    assert removed == 1
    try:
        replace_function(unguarded)
        assert violations_of_some_seed(balances.balances)
    finally:
        replace_function(guarded[0])


def violations_of_some_seed(read: ledger_histories.Reader) -> list[str]:
    found: list[str] = []
    for seed in range(50):
        found = ledger_histories.check(seed=seed, count=160, read=read).violations
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE escrow_hold, ledger_transfer, ledger_account, ledger_balancemark")
        if found:
            break
    return found


def replace_function(definition: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(definition.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
