"""Opening the file."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from ratesync.model.work import Durability
from ratesync.sqlite.errors import NewerLayout, SqliteTooOld, told
from ratesync.sqlite.layout import LAYOUT, TABLES

OLDEST_SQLITE = (3, 35, 0)
PATIENCE = 1.0
"""Seconds for which SQLite itself waits for another process."""
MOST_STATEMENTS = 256
PAGES_BETWEEN_CHECKPOINTS = 4000
CACHE_KIBIBYTES = 16_384

SYNCHRONOUS = {Durability.FSYNC: "FULL", Durability.FSYNC_1S: "NORMAL"}


def check_library(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Make sure that Python's SQLite is new enough.

    :raises SqliteTooOld: it is not.
    """
    if version < OLDEST_SQLITE:
        has, needs = (".".join(map(str, one)) for one in (version, OLDEST_SQLITE))
        raise SqliteTooOld(f"SQLite {needs} or newer is needed, this Python has {has}. Use a newer Python.")


def connect(path: str, durability: Durability) -> sqlite3.Connection:
    """A connection to the file, which is made if there is none.

    :raises FileError: it cannot be opened, is damaged or of a newer layout.
    """
    db: sqlite3.Connection | None = None
    try:
        db = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=MOST_STATEMENTS
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BETWEEN_CHECKPOINTS}")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        db.execute("PRAGMA temp_store = MEMORY")
        _lay_out(db, path)
    except sqlite3.Error as error:
        _close(db)
        raise told(error, path) from error
    except NewerLayout:
        _close(db)
        raise
    return db


def _lay_out(db: sqlite3.Connection, path: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {LAYOUT}")
            version = LAYOUT
        db.execute("COMMIT")
    if version > LAYOUT:
        raise NewerLayout(
            f"{path}: has layout {version}, this ratesync knows layouts up to {LAYOUT}. Upgrade this process."
        )


def _close(db: sqlite3.Connection | None) -> None:
    if db is not None:
        with suppress(sqlite3.Error):
            db.close()
