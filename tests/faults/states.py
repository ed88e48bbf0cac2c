"""The whole database as a value: read at one moment, put back as it was, and brought into a form that can be compared."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from market.ledger.models import Account

Row = dict[str, Any]
State = dict[str, list[Row]]

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}(?![0-9a-f])")
# What the database's clock wrote: campaigns that compare states pass a ``now`` of the forties.
_CLOCK = re.compile(r"20[23]\d-\d\d-\d\d[T ][0-9:.]+(\+00:00|Z)?")
# Addresses of leased files are signed with the time.
_SIGNED = re.compile(r"/v1/lease_files/[^\"\\\\]+")
# Measured, drawn by lot, or in the order of arrival.
_NEVER_SAME = {"seq", "upto_seq", "last_seq", "cost_ms", "duration_ms", "receipt", "raw_body"}
# How often it was tried, and by whom.
_OF_THE_WAY = {"token", "attempts", "lease_holder"}
# Logs, and notes that a row was begun: a sweeper forgets them after a time.
_LOGS = {"events_deliveryattempt", "tasks_setback"}


def tables() -> dict[str, type[models.Model]]:
    """Return the tables that a use case may write, with their models."""
    apart = {"contenttypes", "auth"}
    return {model._meta.db_table: model for model in apps.get_models() if model._meta.app_label not in apart}


def read() -> State:
    """Read every row of every table, at one moment."""
    parts = [f"SELECT '{table}', to_jsonb(t)::text FROM {table} t" for table in sorted(tables())]  # noqa: S608 - our own tables' names
    state: State = {table: [] for table in tables()}
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        for table, row in sorted(cursor.fetchall()):
            state[table].append(json.loads(row))
    return state


def put_back(state: State, *, over: State) -> None:
    """Make the database, which is as ``over``, what it was at ``state``."""
    changed = [table for table in state if state[table] != over[table]]
    if not changed:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # The ledger refuses DELETE to everybody; a test database may be emptied by TRUNCATE. The rest is small.
        if any(table.startswith("ledger_") for table in changed):
            changed = sorted({*changed, *(table for table in state if table.startswith("ledger_"))})
            cursor.execute("TRUNCATE ledger_transfer, ledger_account, ledger_balancemark")
            cursor.execute("SET LOCAL ledger.writer = 'on'")
        for table in changed:
            if not table.startswith("ledger_"):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608
        for table in changed:
            if state[table]:
                rows = json.dumps(state[table])
                cursor.execute(f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)", [rows])  # noqa: S608


def ids_in(state: State) -> set[str]:
    """Return every id that a state knows."""
    return {found.replace("-", "") for rows in state.values() for row in rows for found in _ID.findall(json.dumps(row))}


def comparable(state: State, *, since: State, is_end: bool) -> dict[str, list[str]]:
    """Return a state with what differs from run to run taken out: new ids, the clock, numbers from sequences.

    What was there in ``since`` keeps its ids. ``is_end`` leaves out how often a thing was tried as well.
    """
    known, models_of = ids_in(since), tables()
    left_out = _NEVER_SAME | (_OF_THE_WAY if is_end else set())

    def of_row(model: type[models.Model], row: Row) -> str:
        kept = {name: value for name, value in row.items() if name not in left_out}
        for name, read_number in numbers[model].items():
            kept[name] = read_number(kept.get(name))
        return text_without_chance(json.dumps(kept, sort_keys=True), known=known)

    paths = {row["id"]: row["path"] for row in state["ledger_account"]}
    numbers = {model: _readers_of_numbers(model, since, paths) for model in models_of.values()}
    return {
        table: sorted(of_row(model, row) for row in state[table]) for table, model in models_of.items() if not (is_end and table in _LOGS)
    }


def text_without_chance(words: str, *, known: set[str]) -> str:
    """Return text without the clock, without signed addresses and without ids that are not ``known``."""
    words = _SIGNED.sub("ADDRESS", words)
    without_ids = _ID.sub(lambda found: found[0] if found[0].replace("-", "") in known else "NEW", words)
    return _CLOCK.sub("CLOCK", without_ids)


def differences(found: Mapping[str, list[str]], expected: Mapping[str, list[str]]) -> list[str]:
    """Return in words where two comparable states differ."""
    lines = []
    for table in expected:
        if found[table] != expected[table]:
            missing, extra = _less(expected[table], found[table]), _less(found[table], expected[table])
            lines.append(f"{table}: missing {missing[:2]}, too much {extra[:2]}")
    return lines


def _less(some: list[str], others: list[str]) -> list[str]:
    left = list(some)
    for other in others:
        if other in left:
            left.remove(other)
    return left


def _readers_of_numbers(model: type[models.Model], since: State, paths: dict[int, str]) -> dict[str, Callable[[Any], object]]:
    """Return, for each column that holds a number from a sequence, how it is written down."""

    def known_or_new(table: str, name: str) -> Callable[[Any], object]:
        old = {row[name] for row in since[table]}
        return lambda value: value if value in old else "NEW"

    readers: dict[str, Callable[[Any], object]] = {}
    for field in model._meta.concrete_fields:
        assert field.column is not None
        target = field.related_model if field.is_relation else None
        if target is Account:
            readers[field.column] = paths.get
        elif isinstance(target, type) and issubclass(target, models.Model):
            key = target._meta.pk
            if isinstance(key, models.AutoField | models.BigAutoField) and target._meta.db_table in since:
                readers[field.column] = known_or_new(target._meta.db_table, key.column or "id")
        elif isinstance(field, models.AutoField | models.BigAutoField):
            readers[field.column] = known_or_new(model._meta.db_table, field.column)
    return readers
