"""One clock that the market's Python and its database both read, and that moves only when it is told to."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager

import time_machine
from django.db import connection

START = datetime.datetime(2030, 3, 1, 8, tzinfo=datetime.UTC)
# Rows made in two steps never share a time, so that their order follows from the seed.
TICK = datetime.timedelta(milliseconds=1)

# Functions of PostgreSQL's own schema give way to these for whoever has `simulated` first in his search path.
_SCHEMA = """
DROP SCHEMA IF EXISTS simulated CASCADE;
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.current_setting('simulated.now')::timestamptz $$;
CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.current_setting('simulated.now')::timestamptz $$;
CREATE SEQUENCE simulated.made;
CREATE FUNCTION simulated.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE
    AS $$ SELECT pg_catalog.md5('made ' || pg_catalog.nextval('simulated.made'))::uuid $$;
"""
_DEFAULTS = """
    SELECT attrelid::regclass::text, quote_ident(attname) FROM pg_attrdef
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE pg_get_expr(adbin, adrelid) LIKE '%%statement_timestamp()'
"""
_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"


class Clock:
    """The present moment of a simulation, for Python and for PostgreSQL."""

    def __init__(self) -> None:
        self.now = START
        self._traveller: time_machine.Traveller | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take over the time of this process and of this connection's database, and give them back."""
        with _simulated_database(), time_machine.travel(self.now, tick=False) as traveller:
            self._traveller = traveller
            self.move_to(self.now)
            yield

    def move_to(self, moment: datetime.datetime) -> None:
        """Move forward to a moment; never back, and always by a tick."""
        assert self._traveller is not None
        self.now = max(moment, self.now + TICK)
        self._traveller.move_to(self.now)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.set_config('simulated.now', %s, false)", [self.now.isoformat()])


@contextmanager
def _simulated_database() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        _use(cursor, "simulated.statement_timestamp()")
        # Statistics that change at a moment of their own would change plans, and with them the order of rows.
        _each_table(cursor, "SET (autovacuum_enabled = off)")
        cursor.execute("SET search_path = simulated, public, pg_catalog")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET search_path")
            _use(cursor, "pg_catalog.statement_timestamp()")
            _each_table(cursor, "RESET (autovacuum_enabled)")
            cursor.execute("DROP SCHEMA simulated CASCADE")


def _use(cursor: object, function: str) -> None:
    cursor.execute(_DEFAULTS)  # type: ignore[attr-defined]
    for table, column in cursor.fetchall():  # type: ignore[attr-defined]
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {function}")  # type: ignore[attr-defined]


def _each_table(cursor: object, change: str) -> None:
    cursor.execute(_TABLES)  # type: ignore[attr-defined]
    for (table,) in cursor.fetchall():  # type: ignore[attr-defined]
        cursor.execute(f"ALTER TABLE {table} {change}")  # type: ignore[attr-defined]
