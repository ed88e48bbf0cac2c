"""What a request did to the database: which rows and states there are more or fewer of, and what money moved; kept answers apart."""

from collections import Counter

from django.apps import apps
from django.db import connection

from market.accounts.models import IdempotentRequest

Facts = Counter[str]

# Kept answers are what makes a repeat harmless; sessions and the log of Django's admin are no facts of the market.
_NOT_FACTS = {IdempotentRequest._meta.db_table, "django_session", "django_admin_log", "django_content_type"}


_STATES = ("status", "lease_state", "stage")


def facts() -> Facts:
    """Count the rows of every table and in every state, and what was moved in all."""
    parts = ["SELECT 'minor units moved', coalesce(sum(amount_minor), 0)::bigint FROM ledger_transfer"]
    for model in apps.get_models():
        table = model._meta.db_table
        if table in _NOT_FACTS:
            continue
        states = [field.column for field in model._meta.concrete_fields if field.name in _STATES]
        parts.append(f"SELECT '{table}', count(*) FROM {table}")  # noqa: S608 - our own tables' names
        parts += [f"SELECT '{table}.{state}=' || {state}, count(*) FROM {table} GROUP BY 1" for state in states]  # noqa: S608 - as above
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return Counter(dict(cursor.fetchall()))


def since(before: Facts) -> dict[str, int]:
    """Return what has been added since ``before``."""
    now = facts()
    return {name: now[name] - before[name] for name in sorted({*now, *before}) if now[name] != before[name]}


# What posting writes, before and beside the money.
BLOCKED_BOUNTY = frozenset({"bounties_bounty", "bounties_offer", "tasks_task", "tasks_slot", "events_event"})


def digest() -> dict[str, str]:
    """Digest every table of facts, row by row."""
    tables = [model._meta.db_table for model in apps.get_models() if model._meta.db_table not in _NOT_FACTS]
    parts = [f"SELECT '{table}', count(*) || ':' || coalesce(sum(hashtextextended(row::text, 0)), 0) FROM {table} row" for table in tables]  # noqa: S608 - as above
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return dict(cursor.fetchall())


def changed(before: dict[str, str]) -> frozenset[str]:
    """Return the tables that are not as they were."""
    now = digest()
    return frozenset(table for table in now if now[table] != before[table])
