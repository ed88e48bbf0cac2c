"""pgledger, a ledger in PL/pgSQL, from a copy of its SQL that the caller has; called with psycopg."""

import functools
import os
import random
from pathlib import Path

import psycopg

ACCOUNTS = 10_000
_ONE = "SELECT id FROM pgledger_create_transfer(%s, %s, 1::numeric)"
_MANY = """
    SELECT id FROM pgledger_create_transfers(ARRAY(
        SELECT (i.source, i.destination, 1)::transfer_request FROM unnest(%s::text[], %s::text[]) AS i (source, destination)))
"""


@functools.cache
def server() -> psycopg.Connection:
    """Return this process's connection."""
    return psycopg.connect(os.environ["BENCHMARK_URL"], autocommit=True)


@functools.cache
def accounts() -> list[str]:
    """Return the ids of the accounts, read once."""
    return [identity for (identity,) in server().execute("SELECT id FROM pgledger_accounts ORDER BY id")]


def prepare(argument: str) -> None:
    """Load its SQL, from a checkout or a single file, and make the accounts."""
    path = Path(argument)
    files = [*sorted(path.glob("vendor/*/*.sql")), path / "pgledger.sql"] if path.is_dir() else [path]
    for file in files:
        server().execute(file.read_text(encoding="utf-8").encode())
    server().execute("SELECT count(*) FROM generate_series(1, %s) AS n, pgledger_create_account('account ' || n, 'USD')", [ACCOUNTS])
    server().execute("ANALYZE pgledger_accounts, pgledger_transfers, pgledger_entries")


def move(generator: random.Random, *, batch: int, is_hot: bool = False) -> int:
    """Move once or in a batch, between random accounts or into one."""
    sources = generator.choices(accounts()[1:], k=batch)
    others = [accounts()[0] if is_hot else generator.choice(accounts()) for _ in sources]
    others = [accounts()[0] if other == source else other for source, other in zip(sources, others, strict=True)]
    made = server().execute(_ONE, [sources[0], others[0]]) if batch == 1 else server().execute(_MANY, [sources, others])
    assert len(made.fetchall()) == batch
    return batch


WAYS = {
    "one at a time": functools.partial(move, batch=1),
    "one at a time into one account": functools.partial(move, batch=1, is_hot=True),
    "batches of 10": functools.partial(move, batch=10),
    "batches of 100": functools.partial(move, batch=100),
}
