"""Changing rows and reading them back with one statement: ``UPDATE ... RETURNING``, which Django does not write."""

from typing import TypeVar, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models import sql

_Row = TypeVar("_Row", bound=models.Model)


def update(rows: models.QuerySet[_Row], **fields: object) -> list[_Row]:
    """Change the rows that fit, as ``rows.update(**fields)`` does, and return them as they are now, in no order."""
    query = cast(sql.UpdateQuery, rows.query.chain(sql.UpdateQuery))
    query.add_update_values(fields)
    query.clear_ordering(force=True)
    try:
        statement, params = query.get_compiler(using=rows.db).as_sql()
    except EmptyResultSet:
        return []  # The filter lets nothing pass.
    # The columns by their names: a filter on another table would bring its columns along.
    table = connections[rows.db].ops.quote_name(rows.model._meta.db_table)
    return list(rows.model._default_manager.using(rows.db).raw(f"{statement} RETURNING {table}.*", params))


def update_one(row: _Row, rows: models.QuerySet[_Row], **fields: object) -> bool:
    """Change ``row`` if it is among ``rows``, and bring the object up to date; return False if it is not."""
    found = update(rows.filter(pk=row.pk), **fields)
    if found:
        bring_up_to_date(row, found[0])
    return bool(found)


def bring_up_to_date(row: _Row, found: _Row) -> None:
    """Write into an object what another one of the same row has read."""
    for field in row._meta.concrete_fields:
        setattr(row, field.attname, getattr(found, field.attname))
