"""The records that a whole listing named. Their number has no bound, so they are not kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import sqlite3

_AT_ONCE = 500
"""Ids in one query."""


class Seen:
    """Ids, as fingerprints of eight bytes in a temporary database.

    SQLite holds about 2 MB of it in memory, and the rest in a file that goes with the process. Two ids of one
    fingerprint only hide a deletion until the next listing.
    """

    def __init__(self) -> None:
        self._open: sqlite3.Connection | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, record_ids: Iterable[str]) -> None:
        """Note that these were named."""
        database = self._open = self._open or _temporary()
        before = database.total_changes
        database.execute("BEGIN")
        database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(_fingerprint(each),) for each in record_ids])
        database.execute("COMMIT")
        self._count += database.total_changes - before

    def lacking(self, record_ids: Sequence[str]) -> list[str]:
        """Those that were not named, in order."""
        if self._open is None:
            return list(record_ids)
        found: set[int] = set()
        prints = [_fingerprint(record_id) for record_id in record_ids]
        for start in range(0, len(prints), _AT_ONCE):
            part = prints[start : start + _AT_ONCE]
            places = ",".join("?" * len(part))
            rows = self._open.execute(f"SELECT print FROM seen WHERE print IN ({places})", part)  # noqa: S608
            found.update(row[0] for row in rows)
        return [record_id for record_id, one in zip(record_ids, prints, strict=True) if one not in found]

    def forget(self) -> None:
        """As if nothing had been named."""
        if self._open is not None:
            self._open.close()
        self._open, self._count = None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()


def _temporary() -> sqlite3.Connection:
    import sqlite3  # where nothing is listed, a worker never needs it

    database = sqlite3.connect("", isolation_level=None)  # no name: temporary, and nobody else's
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("CREATE TABLE seen (print INTEGER PRIMARY KEY)")
    return database


def _fingerprint(record_id: str) -> int:
    return int.from_bytes(
        blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True
    )
