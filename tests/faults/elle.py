"""A checker of histories after Elle (Kingsbury and Alvaro, VLDB 2020): dependencies between transactions, and their cycles.

A key is a list to which transactions append. What a transaction read of it is a number of elements, because the order of all
elements is known when the history is over. It knows no database: `tests.faults.histories` records what it checks.
"""

import bisect
import enum
import itertools
from collections import defaultdict, deque
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = Hashable
Value = Hashable
Orders = Mapping[Any, Sequence[Value]]


class Kind(enum.StrEnum):
    """What can be wrong with a history; the G-names are those of Adya's thesis (MIT, 1999)."""

    LOST = "lost append"
    TWICE = "element twice"
    UNWRITTEN = "element that nobody appended"
    OTHER_ORDER = "read that is no beginning of the list"
    INTERNAL = "own append not seen"
    G0 = "G0"
    G1A = "G1a"
    G1B = "G1b"
    G1C = "G1c"
    G_SINGLE = "G-single"
    G2 = "G2"


@dataclass(frozen=True, slots=True)
class Append:
    """An element put at the end of a key's list; an element is appended to one key once."""

    key: Key
    value: Value


@dataclass(frozen=True, slots=True)
class Read:
    """The first ``count`` elements of a key's list were all that was there."""

    key: Key
    count: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one transaction did, in its order, and whether it was committed."""

    number: int
    operations: tuple[Append | Read, ...]
    is_committed: bool = True


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing wrong: a cycle of transactions, or the transactions and the key that a single read or list speaks of."""

    kind: Kind
    transactions: tuple[int, ...]
    detail: str = ""


class _Edge(enum.IntFlag):
    """Why one transaction must come before another."""

    # It wrote the element before the other's; it wrote what the other read; it did not see what the other wrote.
    WW = 1
    WR = 2
    RW = 4


class _List:
    """Who appended the elements of a list, and at which places each of them did."""

    def __init__(self, writers: Sequence[int | None]) -> None:
        self.writers = writers
        self.places: defaultdict[int | None, list[int]] = defaultdict(list)
        for place, writer in enumerate(writers):
            self.places[writer].append(place)


_WRITES = _Edge.WW | _Edge.WR
_ANY = _WRITES | _Edge.RW
_Graph = dict[int, dict[int, _Edge]]


def check(transactions: Sequence[Transaction], orders: Orders) -> list[Anomaly]:
    """Return every anomaly of single reads and lists, and one cycle of each knot of transactions that has no serial order.

    ``orders`` holds each key's list when all was over.
    """
    writers, found = _writers(transactions, orders)
    lists = {key: _List([writers.get((key, value)) for value in values]) for key, values in orders.items()}
    committed = [one for one in transactions if one.is_committed]
    rolled_back = {one.number for one in transactions if not one.is_committed}
    found += itertools.chain.from_iterable(_faults_of_reads(one, lists, rolled_back) for one in committed)
    graph = _dependencies(committed, lists)
    return found + [_cycle_in(graph, knot) for knot in _knots(graph)]


def read_of_list(key: Key, values: Sequence[Value], order: Sequence[Value]) -> Read | None:
    """Return the read of a list as it was seen, or None where the list never began like that (`Kind.OTHER_ORDER`)."""
    return Read(key, len(values)) if list(order[: len(values)]) == list(values) else None


def _writers(transactions: Iterable[Transaction], orders: Orders) -> tuple[dict[tuple[Key, Value], int], list[Anomaly]]:
    """Return who appended each element, and what is wrong with the lists themselves."""
    found: list[Anomaly] = []
    writers: dict[tuple[Key, Value], int] = {}
    kept = {(key, value) for key, values in orders.items() for value in values}
    for one in transactions:
        for done in one.operations:
            if isinstance(done, Append):
                writers[done.key, done.value] = one.number
                if one.is_committed and (done.key, done.value) not in kept:
                    found.append(Anomaly(Kind.LOST, (one.number,), f"{done.value} of {done.key}"))
    for key, values in orders.items():
        if len(set(values)) < len(values):
            found.append(Anomaly(Kind.TWICE, (), f"in {key}"))
        found += [Anomaly(Kind.UNWRITTEN, (), f"{value} of {key}") for value in values if (key, value) not in writers]
    return writers, found


def _faults_of_reads(reader: Transaction, lists: Mapping[Key, "_List"], rolled_back: Container[int]) -> list[Anomaly]:
    """Return reads of what was rolled back (G1a) or was not yet all (G1b), and reads that miss the reader's own appends."""
    found: list[Anomaly] = []
    own: defaultdict[Key, int] = defaultdict(int)
    for done in reader.operations:
        if isinstance(done, Append):
            own[done.key] += 1
            continue
        seen = lists[done.key]
        if bisect.bisect_left(seen.places[reader.number], done.count) < own[done.key]:
            found.append(Anomaly(Kind.INTERNAL, (reader.number,), f"{done.key}"))
        last = seen.writers[done.count - 1] if done.count else None
        if last is not None and last != reader.number:
            if last in rolled_back:
                found.append(Anomaly(Kind.G1A, (last, reader.number), f"{done.key}"))
            elif seen.places[last][-1] >= done.count:
                found.append(Anomaly(Kind.G1B, (last, reader.number), f"{done.key}"))
    return found


def _dependencies(committed: Sequence[Transaction], lists: Mapping[Key, "_List"]) -> _Graph:
    graph: _Graph = {one.number: {} for one in committed}

    def add(before: int | None, after: int | None, edge: _Edge) -> None:
        if before != after and before is not None and after is not None and before in graph and after in graph:
            graph[before][after] = graph[before].get(after, _Edge(0)) | edge

    for known in lists.values():
        for before, after in itertools.pairwise(known.writers):
            add(before, after, _Edge.WW)
    for reader in committed:
        for done in reader.operations:
            if isinstance(done, Read):
                writers = lists[done.key].writers
                if done.count:
                    add(writers[done.count - 1], reader.number, _Edge.WR)
                if done.count < len(writers):
                    add(reader.number, writers[done.count], _Edge.RW)
    return graph


def _knots(graph: _Graph) -> list[set[int]]:
    """Return the strongly connected components of more than one transaction (Tarjan 1972, without recursion)."""
    knots: list[set[int]] = []
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    for root in graph:
        if root in order:
            continue
        work = [(root, iter(graph[root]))]
        order[root] = low[root] = len(order)
        path.append(root)
        on_path.add(root)
        while work:
            node, following = work[-1]
            for other in following:
                if other not in order:
                    order[other] = low[other] = len(order)
                    path.append(other)
                    on_path.add(other)
                    work.append((other, iter(graph[other])))
                    break
                if other in on_path:
                    low[node] = min(low[node], order[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    knot = _taken_off(path, node)
                    on_path -= knot
                    if len(knot) > 1:
                        knots.append(knot)
    return knots


def _taken_off(path: list[int], node: int) -> set[int]:
    knot = {path.pop()}
    while node not in knot:
        knot.add(path.pop())
    return knot


def _cycle_in(graph: _Graph, knot: set[int]) -> Anomaly:
    """Name a knot by the worst cycle in it: of writes alone, of writes and reads, of one anti-dependency, of more."""
    for kind, allowed, closing in (
        (Kind.G0, _Edge.WW, _Edge.WW),
        (Kind.G1C, _WRITES, _Edge.WR),
        (Kind.G_SINGLE, _WRITES, _Edge.RW),
        (Kind.G2, _ANY, _Edge.RW),
    ):
        inside = {node: {other: edge for other, edge in graph[node].items() if other in knot and edge & allowed} for node in sorted(knot)}
        # A cycle that is closed by an edge of its own kind lies in a knot of that kind.
        candidates = [knot] if closing == _Edge.RW else _knots(inside)
        for within in candidates:
            for before, after in _edges(graph, within, closing):
                way = _way(inside, after, before)
                if way:
                    return Anomaly(kind, tuple(way))
    raise AssertionError(f"No cycle in the knot {knot}.")


def _edges(graph: _Graph, within: set[int], closing: _Edge) -> Iterator[tuple[int, int]]:
    for before in sorted(within):
        for after, edge in graph[before].items():
            if after in within and edge & closing:
                yield before, after


def _way(graph: _Graph, start: int, goal: int) -> list[int]:
    """Return the shortest way from one transaction to another; empty where there is none."""
    came_from: dict[int, int | None] = {start: None}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node == goal:
            way = [node]
            while (before := came_from[way[-1]]) is not None:
                way.append(before)
            return way[::-1]
        for other in graph[node]:
            if other not in came_from:
                came_from[other] = node
                queue.append(other)
    return []
