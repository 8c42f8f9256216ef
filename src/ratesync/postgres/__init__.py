"""State of many processes, kept in a PostgreSQL (13 or newer). Needs the extra ``postgres``."""

from __future__ import annotations

from ratesync.postgres.errors import (
    AccessRefused,
    NewerLayout,
    SchemaClash,
    ServerAway,
    ServerError,
    ServerFull,
    ServerReadsOnly,
    ServerUnfit,
)
from ratesync.postgres.state import PostgresStateStore

__all__ = [
    "AccessRefused",
    "NewerLayout",
    "PostgresStateStore",
    "SchemaClash",
    "ServerAway",
    "ServerError",
    "ServerFull",
    "ServerReadsOnly",
    "ServerUnfit",
]
