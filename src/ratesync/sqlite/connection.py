"""Opening the file."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event

from ratesync.model.work import Durability
from ratesync.sqlite.errors import OF_THE_FILE, FileError, FileForeign, NewerLayout, SqliteTooOld, kind_of, told
from ratesync.sqlite.forks import note_closed, note_opened
from ratesync.sqlite.layout import APPLICATION, MIGRATIONS

if sys.platform == "darwin":
    import fcntl

OLDEST_SQLITE = (3, 35, 0)
PATIENCE = 1.0
"""Seconds for which SQLite itself waits for another process."""
MOST_TRIES = 10
BEFORE_NEXT_TRY = 0.05
"""How often, and after how many seconds, opening is tried again while another process makes the file."""
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

    Call ``note_closed`` when it is closed.

    :raises FileError: it cannot be opened, is damaged, another program's or of a newer layout.
    """
    note_opened(path)
    db: sqlite3.Connection | None = None
    problem: FileError
    try:
        db = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=MOST_STATEMENTS
        )
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                _prepare(db, path, durability)
                break
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself while others make the same file a WAL database.
                if kind_of(error) != sqlite3.SQLITE_BUSY or not tries_left:
                    raise
                Event().wait(BEFORE_NEXT_TRY)
    except FileError as error:
        problem = error
    except OF_THE_FILE as error:
        problem = told(error, path)
    else:
        return db
    _close(db)
    note_closed(path)
    raise problem  # here, so that SQLite's error, which may quote what is in the file, is not part of it


def sync_log(db: sqlite3.Connection) -> None:
    """Bring the log to disk as it is, whoever reads it. SQLite locks nothing in it, so it may be opened and closed.

    :raises OSError: the disk failed.
    """
    # As bytes, since a path need not be text.
    (path,) = db.execute("SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'").fetchone()
    with Path(os.fsdecode(path + b"-wal")).open("r+b") as log:
        os.fsync(log.fileno())
        if sys.platform == "darwin":  # where it stops at the disk's cache
            with suppress(OSError):  # not every file system knows it
                fcntl.fcntl(log, fcntl.F_FULLFSYNC)


def _prepare(db: sqlite3.Connection, path: str, durability: Durability) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")
    _check_owner(db, path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    db.execute("PRAGMA fullfsync = ON")  # where an ordinary fsync stops at the disk's cache: on macOS
    db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BETWEEN_CHECKPOINTS}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    db.execute("PRAGMA temp_store = MEMORY")
    _lay_out(db, path)


def _lay_out(db: sqlite3.Connection, path: str) -> None:
    known = len(MIGRATIONS)
    if _layout(db) < known:
        db.execute("BEGIN IMMEDIATE")
        for step in MIGRATIONS[_layout(db) :]:  # looked at again: another process may have been quicker
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {max(known, _layout(db))}")
        db.execute("COMMIT")
    if _layout(db) > known:
        raise NewerLayout(
            f"{path}: has layout {_layout(db)}, this ratesync knows layouts up to {known}. Upgrade this process."
        )


def _layout(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check_owner(db: sqlite3.Connection, path: str) -> None:
    if _is_empty(db):  # looked at first: another process may be making the tables now
        return
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise FileForeign(f"{path}: is the database of another program. It was left as it is; give another path.")


def _is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def _close(db: sqlite3.Connection | None) -> None:
    if db is not None:
        with suppress(sqlite3.Error):
            db.close()
