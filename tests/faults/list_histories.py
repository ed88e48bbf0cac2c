"""Histories of transactions that read and append to lists in a table, with our guards, without them, and at stricter levels."""

import enum
import functools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError, connection, transaction

from market.common import retrying
from tests import racing
from tests.faults import campaign, elle

THREADS = 8
# Transactions at one moment meet on few keys; after so many the next group of keys begins, so that no list grows for ever.
PER_GROUP, KEYS = 400, 4


class Way(enum.Enum):
    """How the transactions of a list history go about it."""

    # As the market does: READ COMMITTED, the rows locked in id order before anything is read.
    LOCKED = "READ COMMITTED, rows locked in id order"
    # The guards taken away: read a list, write it back longer.
    READ_THEN_WRITE = "READ COMMITTED, read then write"
    UNLOCKED = "READ COMMITTED, no locks"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


# What the checker must find, and what else it may: PostgreSQL's REPEATABLE READ is snapshot isolation.
EXPECTED: dict[Way, tuple[set[elle.Kind], set[elle.Kind]]] = {
    Way.LOCKED: (set(), set()),
    Way.READ_THEN_WRITE: ({elle.Kind.LOST}, set(elle.Kind)),
    Way.UNLOCKED: ({elle.Kind.G_SINGLE}, {elle.Kind.G_SINGLE, elle.Kind.G2}),
    Way.REPEATABLE_READ: ({elle.Kind.G2}, {elle.Kind.G2}),
    Way.SERIALIZABLE: (set(), set()),
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A list as a transaction read it."""

    key: int
    values: list[int]


_Done = list[elle.Append | _Seen]


def check(way: Way, *, seed: int, count: int) -> list[elle.Anomaly]:
    """Run ``count`` transactions over lists in a table, some at once, and return what is wrong with their history."""
    with _table(keys=(count // PER_GROUP + 1) * KEYS):
        results = racing.together([functools.partial(_append_and_read, way, seed, thread, count) for thread in range(THREADS)])
        for result in results:
            if isinstance(result, Exception):
                raise result
        with connection.cursor() as cursor:
            cursor.execute("SELECT key, items FROM history_list")
            orders: dict[int, list[int]] = dict(cursor.fetchall())
    recorded = [one for result in results if isinstance(result, list) for one in result]
    transactions, found = [], []
    for number, done in recorded:
        operations: list[elle.Append | elle.Read] = []
        for one in done:
            read = elle.read_of_list(one.key, one.values, orders[one.key]) if isinstance(one, _Seen) else one
            if read is None:
                found.append(elle.Anomaly(elle.Kind.OTHER_ORDER, (number,), f"{one.key}"))
            else:
                operations.append(read)
        transactions.append(elle.Transaction(number, tuple(operations)))
    return found + elle.check(transactions, orders)


@contextmanager
def _table(*, keys: int) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE history_list (key int PRIMARY KEY, items bigint[] NOT NULL DEFAULT '{}')")
        cursor.execute("INSERT INTO history_list (key) SELECT generate_series(0, %s)", [keys])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE history_list")


def check_expected(way: Way, *, seed: int, count: int, report: campaign.Report) -> None:
    """Check a history and write down what was found; it is a violation where that is more, or less, than it must be."""
    found = Counter(anomaly.kind for anomaly in check(way, seed=seed, count=count))
    report.figures[f"lists: {way.value}"] = ", ".join(f"{number} {kind}" for kind, number in found.items()) or "none"
    needed, allowed = EXPECTED[way]
    if not needed <= set(found) <= allowed:
        report.violations.append(f"seed {seed}, lists, {way.value}: found {dict(found)}, not {needed} and no more than {allowed}")


def _append_and_read(way: Way, seed: int, thread: int, count: int) -> list[tuple[int, _Done]]:
    chance = random.Random(f"{seed} {thread}")
    recorded = []
    for number in range(thread, count, THREADS):
        wanted = [((number // PER_GROUP) * KEYS + chance.randrange(KEYS), chance.random() < 0.5) for _ in range(chance.randint(2, 4))]
        if way is not Way.LOCKED:
            # So that they never wait for each other in a circle: what is wrong is to come from what they read alone.
            wanted.sort()
        try:
            recorded.append((number, _list_transaction(way, number, wanted)))
        except DatabaseError as error:
            if way is Way.LOCKED or not retrying.is_lost_to_another(error):
                raise
    return recorded


def _list_transaction(way: Way, number: int, wanted: list[tuple[int, bool]]) -> _Done:
    done: _Done = []
    with transaction.atomic(), connection.cursor() as cursor:
        if way in (Way.REPEATABLE_READ, Way.SERIALIZABLE):
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {way.value}")
        if way is Way.LOCKED:
            keys = [key for key, _ in wanted]
            cursor.execute("SELECT FROM history_list WHERE key = ANY (%s) ORDER BY key FOR NO KEY UPDATE", [keys])
        for place, (key, is_append) in enumerate(wanted):
            if not is_append or way is Way.READ_THEN_WRITE:
                cursor.execute("SELECT items FROM history_list WHERE key = %s", [key])
                done.append(_Seen(key, cursor.fetchone()[0]))
            if is_append:
                value = number * 10 + place
                if way is Way.READ_THEN_WRITE:
                    seen = done[-1]
                    assert isinstance(seen, _Seen)
                    cursor.execute("UPDATE history_list SET items = %s WHERE key = %s", [[*seen.values, value], key])
                else:
                    cursor.execute("UPDATE history_list SET items = items || %s::bigint WHERE key = %s", [value, key])
                done.append(elle.Append(key, value))
    return done
