"""A state store in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from functools import partial

from ratesync.clock import Clock
from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.model.work import Durability
from ratesync.sqlite.call import Transaction
from ratesync.sqlite.file import SqliteFile
from ratesync.sqlite.many import bounded

LONGEST_KEY = 512
"""Characters."""


class SqliteStateStore:
    """A :class:`~ratesync.protocols.state.StateStore` in a SQLite file, on asyncio and trio.

    A new key's revision is above that of every key deleted before, so nothing need be remembered of deleted ones.

    Args:
        file: Path of the database, or the file that a queue uses, too.
        durability: As for :class:`~ratesync.sqlite.SqliteQueue`.
        clock: Default: the machine's clock.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | SqliteFile,
        *,
        durability: Durability = Durability.FSYNC,
        clock: Clock | None = None,
    ) -> None:
        self._file = file if isinstance(file, SqliteFile) else SqliteFile(file, durability=durability, clock=clock)

    async def open(self) -> None:
        """Open the file.

        :raises FileError: the file cannot be used.
        """
        await self._file.open()

    async def close(self) -> None:
        """Close the file; values stay."""
        await self._file.close()

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys; None where there is none."""
        return await self._file.ask(lambda transaction: [_find(transaction.db, key) for key in keys])

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none; the new revision of each, 0 for a deleted key.

        :raises StateConflict: an ``if_revision`` does not hold; nothing was written.
        :raises ValueError: a key stands in two of the writes, or is not a valid key.
        """
        _check_keys([write.key for write in writes])
        return await self._file.ask(partial(_commit, writes))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key, from behind the key ``after``, at most ``limit``."""
        return await self._file.ask(partial(_scan, prefix, after, bounded(limit)))


def _find(db: sqlite3.Connection, key: str) -> Stored | None:
    row = db.execute("SELECT key, value, revision FROM state WHERE key = ?", (key,)).fetchone()
    return None if row is None else Stored(*row)


def _scan(prefix: str, after: str | None, limit: int, transaction: Transaction) -> list[Stored]:
    rows = transaction.db.execute(
        "SELECT key, value, revision FROM state WHERE key >= ? AND key > ? ORDER BY key LIMIT ?",
        (prefix, "" if after is None else after, limit),
    )
    found: list[Stored] = []
    for row in rows:
        if not row[0].startswith(prefix):
            break
        found.append(Stored(*row))
    return found


def _commit(writes: Sequence[Write], transaction: Transaction) -> list[int]:
    db = transaction.db
    revisions: dict[str, int] = {}
    for write in writes:
        row = db.execute("SELECT revision FROM state WHERE key = ?", (write.key,)).fetchone()
        revision = revisions[write.key] = 0 if row is None else row[0]
        if write.if_revision is not None and write.if_revision != revision:
            raise StateConflict(
                f"key {write.key!r} has revision {revision}, not {write.if_revision}. Nothing was written.",
                key=write.key,
            )
    return [_write(db, write, revisions[write.key]) for write in writes]


def _write(db: sqlite3.Connection, write: Write, revision: int) -> int:
    if write.value is None:
        db.execute("DELETE FROM state WHERE key = ?", (write.key,))
        db.execute("UPDATE totals SET deleted_revision = max(deleted_revision, ?)", (revision,))
        return 0
    if not revision:
        (revision,) = db.execute("SELECT deleted_revision FROM totals").fetchone()
    db.execute(
        "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
        "revision = excluded.revision",
        (write.key, bytes(write.value), revision + 1),
    )
    return revision + 1


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise ValueError(f"key {key[:40]!r}: must have 1 to {LONGEST_KEY} characters, none of them NUL")
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r}: stands in two writes of one commit; a key can be written once")
