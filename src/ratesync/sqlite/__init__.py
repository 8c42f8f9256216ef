"""Queue and state store in one SQLite file, by the standard library alone."""

from __future__ import annotations

from ratesync.sqlite.state import SqliteStateStore

__all__ = ["SqliteStateStore"]
