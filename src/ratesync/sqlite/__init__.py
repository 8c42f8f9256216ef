"""Queue and state store in one SQLite file, by the standard library alone."""

from __future__ import annotations

from ratesync.sqlite.backend import SqliteBackend
from ratesync.sqlite.errors import (
    FileBusy,
    FileCorrupt,
    FileError,
    FileForbidden,
    FileForeign,
    FileForked,
    FileFull,
    NewerLayout,
    SqliteTooOld,
)
from ratesync.sqlite.queue import SqliteQueue
from ratesync.sqlite.state import SqliteStateStore

__all__ = [
    "FileBusy",
    "FileCorrupt",
    "FileError",
    "FileForbidden",
    "FileForeign",
    "FileForked",
    "FileFull",
    "NewerLayout",
    "SqliteBackend",
    "SqliteQueue",
    "SqliteStateStore",
    "SqliteTooOld",
]
