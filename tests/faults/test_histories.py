"""Histories of transactions: the checker names what is wrong with hand-made ones, and finds nothing wrong with ours."""

import pytest

from tests.faults import elle
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
