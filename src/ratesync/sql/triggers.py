"""Triggers that note every change of a table in the outbox, whoever makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ratesync.sql.dialect import TRANSACTION, is_postgres, literal, quoted

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Table

_FUNCTION = """CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $ratesync$
DECLARE
    old_id text := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) ->> TG_ARGV[1] END;
    new_id text := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) ->> TG_ARGV[1] END;
BEGIN
    INSERT INTO {outbox} (transaction_id, resource, record_id)
    SELECT DISTINCT {transaction}, TG_ARGV[0], id FROM unnest(ARRAY[old_id, new_id]) AS id WHERE id IS NOT NULL;
    RETURN NULL;
END $ratesync$"""

_OF_POSTGRES = """CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {function}({resource}, {key})"""

_OF_SQLITE = """CREATE TRIGGER IF NOT EXISTS {trigger} AFTER {event} ON {table} BEGIN
INSERT INTO {outbox} (transaction_id, resource, record_id)
SELECT DISTINCT 0, {resource}, CAST(id AS TEXT) FROM ({ids}) WHERE id IS NOT NULL; END"""


def statements(dialect: Dialect, outbox: Table, table: Table, resource: str) -> Iterator[str]:
    """What makes the triggers of a table, or leaves them as they are."""
    (key,) = table.primary_key.columns
    names = {
        "outbox": quoted(dialect, outbox.name, outbox.schema),
        "table": quoted(dialect, table.name, table.schema),
        "resource": literal(resource),
    }
    if is_postgres(dialect):
        function = quoted(dialect, f"{outbox.name}_note", outbox.schema)
        trigger = quoted(dialect, f"{outbox.name}_{table.name}"[:63])
        yield _FUNCTION.format(function=function, outbox=names["outbox"], transaction=TRANSACTION)
        yield _OF_POSTGRES.format(trigger=trigger, function=function, key=literal(key.name), **names)
        return
    column = quoted(dialect, key.name)
    for event, rows in {"INSERT": ["NEW"], "UPDATE": ["OLD", "NEW"], "DELETE": ["OLD"]}.items():
        ids = " UNION ALL ".join(f"SELECT {row}.{column} AS id" for row in rows)
        trigger = quoted(dialect, f"{outbox.name}_{table.name}_{event.lower()}", table.schema)
        yield _OF_SQLITE.format(trigger=trigger, event=event, ids=ids, **names)
