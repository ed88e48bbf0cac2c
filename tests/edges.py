"""A watch in the test database: a row whose model has EDGES changes its status or stage along them, or the statement fails.

The code writes a status in one conditional UPDATE; the legal edges stand once, beside the model. This compares the two in
every test, whatever it is about.
"""

from django.apps import apps
from django.db import connection
from django.db.models import Model

_FUNCTION = """
CREATE OR REPLACE FUNCTION refuse_unknown_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (to_jsonb(OLD)->>TG_ARGV[0] || '>' || (to_jsonb(NEW)->>TG_ARGV[0])) = ANY (TG_ARGV) THEN
        RAISE EXCEPTION 'no edge from % to % in %', to_jsonb(OLD)->>TG_ARGV[0], to_jsonb(NEW)->>TG_ARGV[0], TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$
"""


def models_with_edges() -> list[type[Model]]:
    """Return every model that says how its status may change."""
    return [model for model in apps.get_models() if hasattr(model, "EDGES")]


def field_of(model: type[Model]) -> str:
    """Return the name of the field whose values have edges: ``stage`` where the model has stages, else ``status``."""
    return "stage" if hasattr(model, "Stage") else "status"


def values_of(model: type[Model]) -> set[str]:
    """Return every value of that field."""
    return set(getattr(model, field_of(model).capitalize()))


def watch() -> None:
    """Install the watch in the current database; again, it replaces the watch that is there."""
    with connection.cursor() as cursor:
        cursor.execute(_FUNCTION)
        for model in models_with_edges():
            edges = [f"{source.value}>{target.value}" for source, targets in model.EDGES.items() for target in targets]  # type: ignore[attr-defined]
            quoted = ", ".join(f"'{edge}'" for edge in sorted(edges))
            table, field = connection.ops.quote_name(model._meta.db_table), field_of(model)
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER status_follows_edges BEFORE UPDATE ON {table} FOR EACH ROW"
                f" WHEN (OLD.{field} IS DISTINCT FROM NEW.{field}) EXECUTE FUNCTION refuse_unknown_edge('{field}', {quoted})"
            )
