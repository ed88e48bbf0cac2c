"""A watch in the test database: a row whose model has EDGES changes its status along them, or the statement fails.

The code writes a status in one conditional UPDATE; the legal edges stand once, beside the model. This compares the two in
every test, whatever it is about.
"""

from django.apps import apps
from django.db import connection
from django.db.models import Model

_FUNCTION = """
CREATE OR REPLACE FUNCTION refuse_unknown_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.status || '>' || NEW.status) = ANY (TG_ARGV) THEN
        RAISE EXCEPTION 'no edge from % to % in %', OLD.status, NEW.status, TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$
"""


def models_with_edges() -> list[type[Model]]:
    """Return every model that says how its status may change."""
    return [model for model in apps.get_models() if hasattr(model, "EDGES")]


def watch() -> None:
    """Install the watch in the current database; again, it replaces the watch that is there."""
    with connection.cursor() as cursor:
        cursor.execute(_FUNCTION)
        for model in models_with_edges():
            edges = [f"{source.value}>{target.value}" for source, targets in model.EDGES.items() for target in targets]  # type: ignore[attr-defined]
            quoted = ", ".join(f"'{edge}'" for edge in sorted(edges))
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER status_follows_edges BEFORE UPDATE ON {table} FOR EACH ROW"
                f" WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION refuse_unknown_edge({quoted})"
            )
