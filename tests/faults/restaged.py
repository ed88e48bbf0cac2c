"""A scene that is made once and played many times: before each time every row of the database is as it was at its beginning."""

import copy
import time
from collections.abc import Callable

from django.db import connection

from tests.faults import states
from tests.faults.race_scenes import Scene

# After so many plays, or seconds, the scene is made anew: with other ids, and so in another order of rows and locks; and
# leases that go by the database's clock are for a minute.
MOST_PLAYS, MOST_S = 25, 10.0

# A table's stamp changes with every row that is written or deleted, so most tables need no closer look. In the others a row that
# is not as it was goes, and what is gone comes back. The ledger refuses that to everybody; a test database may be emptied.
_FUNCTIONS = """
CREATE SCHEMA {schema};
{tables}
CREATE VIEW {schema}.stamps AS {stamps};
CREATE TABLE {schema}.stamp AS TABLE {schema}.stamps WITH NO DATA;
CREATE FUNCTION {schema}.keep() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
{keep}
DELETE FROM {schema}.stamp;
INSERT INTO {schema}.stamp TABLE {schema}.stamps;
END $$;
CREATE FUNCTION {schema}.put_back() RETURNS void LANGUAGE plpgsql SET ledger.writer = 'on' AS $$
DECLARE changed text[] := ARRAY(
    SELECT name FROM {schema}.stamps JOIN {schema}.stamp USING (name) WHERE (stamps.*) IS DISTINCT FROM (stamp.*)
);
BEGIN
IF changed && '{{{ledger}}}' THEN
    changed := changed || '{{{ledger}}}'::text[];
    TRUNCATE {ledger};
END IF;
{put_back}
UPDATE {schema}.stamp SET many = stamps.many, writers = stamps.writers FROM {schema}.stamps
WHERE stamps.name = stamp.name AND stamp.name = ANY (changed);
END $$;
"""
_TABLE = "CREATE UNLOGGED TABLE {schema}.{table} AS TABLE {table} WITH NO DATA;"
_STAMP = "SELECT '{table}' AS name, count(*) AS many, coalesce(sum(xmin::text::bigint), 0) AS writers FROM {table}"
_KEEP = "DELETE FROM {schema}.{table}; INSERT INTO {schema}.{table} TABLE {table};"
_PUT_BACK = """
IF '{table}' = ANY (changed) THEN
    IF '{table}' <> ALL ('{{{ledger}}}') THEN
        DELETE FROM {table} x WHERE NOT EXISTS (SELECT FROM {schema}.{table} k WHERE k.{key} = x.{key} AND k::text = x::text);
    END IF;
    INSERT INTO {table} SELECT k.* FROM {schema}.{table} k WHERE NOT EXISTS (SELECT FROM {table} x WHERE x.{key} = k.{key});
END IF;
"""
_EMPTY, _SET = "kept_empty", "kept_scene"


class Stage:
    """Where the scenes of one state are played; it leaves the database as it found it."""

    def __init__(self, make: Callable[[], Scene]) -> None:
        self._make = make
        self._scene: Scene | None = None
        self._plays, self._made_at_s = 0, 0.0
        # Its own: what the racers do on theirs is watched.
        self._backstage = connection.copy()

    def __enter__(self) -> "Stage":
        with self._backstage.cursor() as cursor:
            for schema in (_EMPTY, _SET):
                cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
                cursor.execute(_functions(schema))
        self._call(_EMPTY, "keep")
        return self

    def __exit__(self, *_: object) -> None:
        self._call(_EMPTY, "put_back")
        with self._backstage.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {_EMPTY}, {_SET} CASCADE")
        self._backstage.close()

    def scene(self) -> Scene:
        """Return the scene at its beginning: nothing that was done in it before is left."""
        if self._scene is None or self._plays == MOST_PLAYS or time.monotonic() - self._made_at_s > MOST_S:
            self._call(_EMPTY, "put_back")
            self._vacuum()
            self._plays, self._made_at_s = 0, time.monotonic()
            self._scene = self._make().begin()
            self._call(_SET, "keep")
        else:
            self._call(_SET, "put_back")
        self._plays += 1
        # Steps add to its lists and change its objects.
        return copy.deepcopy(self._scene)

    def _vacuum(self) -> None:
        with self._backstage.cursor() as cursor:
            cursor.execute(f"VACUUM {', '.join(states.tables())}")

    def _call(self, schema: str, function: str) -> None:
        with self._backstage.cursor() as cursor:
            cursor.execute(f"SELECT {schema}.{function}()")


def _functions(schema: str) -> str:
    keys = {table: model._meta.pk.column for table, model in states.tables().items()}
    ledger = ", ".join(table for table in keys if table.startswith("ledger_"))

    def of_each(template: str, between: str = "\n") -> str:
        return between.join(template.format(schema=schema, table=table, key=key, ledger=ledger) for table, key in keys.items())

    return _FUNCTIONS.format(
        schema=schema,
        tables=of_each(_TABLE),
        stamps=of_each(_STAMP, " UNION ALL "),
        keep=of_each(_KEEP),
        put_back=of_each(_PUT_BACK),
        ledger=ledger,
    )
