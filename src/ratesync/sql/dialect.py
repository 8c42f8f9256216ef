"""What SQLite and PostgreSQL say in different words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratesync.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Engine

POSTGRES = "postgresql"
SQLITE = "sqlite"

TRANSACTION = "pg_current_xact_id()::text::bigint"
"""The number of the transaction under way: given out in the order in which transactions begin to write."""

HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
"""The oldest transaction that had not ended: those below have ended, and what they wrote can be seen."""

NEXT = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
"""A number that no transaction has had yet."""


def check_engine(engine: Engine) -> None:
    """Make sure that the engine's database is one that an outbox works in.

    :raises ConfigurationError: it is not.
    """
    if engine.dialect.name not in {POSTGRES, SQLITE}:
        raise ConfigurationError(
            f"an outbox works in PostgreSQL and SQLite, not in {engine.dialect.name}. Write a LocalStore of your own."
        )
    if engine.dialect.name == SQLITE and engine.url.database in {None, "", ":memory:"}:
        raise ConfigurationError("SQLite in memory gives each thread a database of its own: use a file.")


def is_postgres(dialect: Dialect) -> bool:
    """Whether it is PostgreSQL. If not, it is SQLite."""
    return dialect.name == POSTGRES


def quoted(name: str, schema: str | None = None) -> str:
    """A name, in its schema, as it stands in a statement."""
    own = '"' + name.replace('"', '""') + '"'
    return own if schema is None else f"{quoted(schema)}.{own}"


def literal(text: str) -> str:
    """A text, as it stands in a statement."""
    return "'" + text.replace("'", "''") + "'"
