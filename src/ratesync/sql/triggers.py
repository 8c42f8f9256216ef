"""Triggers that note every change of a table in the outbox, whoever makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

from ratesync.sql.dialect import TRANSACTION, is_postgres, literal, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""

_FUNCTION = """CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $ratesync$
DECLARE
    old_id text := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN OLD.{key}::text END;
    new_id text := CASE WHEN TG_OP IN ('UPDATE', 'INSERT') THEN NEW.{key}::text END;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {outbox} (transaction_id, resource, record_id)
        SELECT {transaction}, {resource}, {key}::text FROM {table};
    ELSE
        INSERT INTO {outbox} (transaction_id, resource, record_id)
        SELECT DISTINCT {transaction}, {resource}, id FROM unnest(ARRAY[old_id, new_id]) AS id WHERE id IS NOT NULL;
    END IF;
    RETURN NULL;
END $ratesync$"""

_IS_THERE = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = CAST(:at AS regclass) AND tgname = :named)"

_OF_POSTGRES = {
    "": "CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW {runs}",
    "_truncate": "CREATE TRIGGER {trigger} BEFORE TRUNCATE ON {table} {runs}",
}
"""By the end of the trigger's name."""

_OF_SQLITE = """CREATE TRIGGER IF NOT EXISTS {trigger} AFTER {event} ON {table} BEGIN
INSERT INTO {outbox} (transaction_id, resource, record_id)
SELECT DISTINCT 0, {resource}, CAST(id AS TEXT) FROM ({ids}) WHERE id IS NOT NULL; END"""


def statements(connection: Connection, outbox: Table, table: Table, resource: str) -> Iterator[str]:
    """What makes the triggers of a table, or leaves them as they are."""
    (key,) = table.primary_key.columns
    column = quoted(key.name)
    name = _bounded(f"{outbox.name}_{resource}")
    parts = {
        "outbox": quoted(outbox.name, outbox.schema),
        "table": quoted(table.name, table.schema),
        "resource": literal(resource),
    }
    if is_postgres(connection.dialect):
        function = quoted(name, outbox.schema)
        yield _FUNCTION.format(function=function, key=column, transaction=TRANSACTION, **parts)
        # To make one again would lock the table: all who write to it would wait for the longest of their transactions.
        for end, text in _OF_POSTGRES.items():
            trigger = _bounded(f"{name}{end}")
            if not _is_there(connection, parts["table"], trigger):
                yield text.format(trigger=quoted(trigger), runs=f"EXECUTE FUNCTION {function}()", **parts)
        return
    for event, rows in {"INSERT": ["NEW"], "UPDATE": ["OLD", "NEW"], "DELETE": ["OLD"]}.items():
        ids = " UNION ALL ".join(f"SELECT {row}.{column} AS id" for row in rows)
        trigger = quoted(f"{name}_{event.lower()}", table.schema)
        yield _OF_SQLITE.format(trigger=trigger, event=event, ids=ids, **parts)


def _is_there(connection: Connection, table: str, name: str) -> bool:
    import sqlalchemy as sa

    return bool(connection.scalar(sa.text(_IS_THERE), {"at": table, "named": name}))


def _bounded(name: str) -> str:
    """The name, or one that stands for it where it is too long."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"ratesync_{crc32(name.encode()):08x}"
