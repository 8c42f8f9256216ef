"""What is said to the server about keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ratesync.postgres.layout import Schema

if TYPE_CHECKING:
    import psycopg

    from ratesync.postgres.connect import Connection

BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED"
"""Each statement sees what was committed before it began: what is looked at under a lock is what there is."""
COMMIT = b"COMMIT"
ROLLBACK = b"ROLLBACK"

BOUND = b"SELECT set_config('statement_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)"
"""For this transaction: what a dead process has locked is soon free, also where no network tells of its death."""


class Statements:
    """The statements about one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.load = schema.statement("SELECT key, value, revision FROM {schema}.state WHERE key = ANY(%s::text[])")
        self.scan = schema.statement(
            "SELECT key, value, revision FROM {schema}.state WHERE key >= %s::text AND key > %s::text "
            "AND (%s::text IS NULL OR key < %s::text) ORDER BY key LIMIT %s"
        )
        # Always in the same order, so that no two commits wait for each other.
        self.lock = schema.statement(
            "SELECT stripe, deleted_revision FROM {schema}.stripe WHERE stripe = ANY(%s::integer[]) "
            "ORDER BY stripe FOR NO KEY UPDATE"
        )
        self.book = schema.statement(
            "SELECT version, (SELECT call FROM {schema}.writer WHERE name = %s::text) FROM {schema}.layout"
        )
        self.find = schema.statement("SELECT key, revision FROM {schema}.state WHERE key = ANY(%s::text[])")
        self.put = schema.statement(
            "INSERT INTO {schema}.state SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bigint[]) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision"
        )
        self.delete = schema.statement("DELETE FROM {schema}.state WHERE key = ANY(%s::text[])")
        self.remember = schema.statement(
            "UPDATE {schema}.stripe AS kept SET deleted_revision = gone.revision FROM (SELECT number, max(revision) "
            "FROM unnest(%s::integer[], %s::bigint[]) AS one (number, revision) GROUP BY number) AS gone "
            "(number, revision) WHERE kept.stripe = gone.number AND kept.deleted_revision < gone.revision"
        )
        self.sign = schema.statement(
            "INSERT INTO {schema}.writer VALUES (%s, %s, now()) "
            "ON CONFLICT (name) DO UPDATE SET call = excluded.call, at = excluded.at"
        )
        self.forget = schema.statement("DELETE FROM {schema}.writer WHERE at < now() - interval '1 day'")


def ask(connection: Connection, statement: bytes, values: Sequence[object] | None = None) -> psycopg.Cursor[Any]:
    """Ask for rows: plain tuples, whatever the host set for its connections; values as bytes, not as text."""
    from psycopg.rows import tuple_row

    return connection.cursor(row_factory=tuple_row, binary=True).execute(statement, values)


def above(prefix: str) -> str | None:
    """The least text that is above all that begin with ``prefix``; None if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = chr(ord(stem[-1]) + 1)
    return stem[:-1] + ("\ue000" if following == "\ud800" else following)  # between them is no text
