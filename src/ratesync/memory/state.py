"""A state store in this process's memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import anyio.lowlevel

from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write

LONGEST_KEY = 512
"""Characters."""


class MemoryStateStore:
    """A :class:`~ratesync.protocols.state.StateStore` in this process's memory, for the tasks of one event loop.

    It lives with the process. A new key's revision is above that of every key deleted before, so nothing need be
    remembered of deleted ones.
    """

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._keys: list[str] = []
        self._deleted_revision = 0

    async def open(self) -> None:
        """Nothing to do."""
        await anyio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Nothing to do; values stay."""
        await anyio.lowlevel.checkpoint()

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys; None where there is none."""
        await anyio.lowlevel.checkpoint()
        return [self._stored.get(key) for key in keys]

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none; the new revision of each, 0 for a deleted key.

        :raises StateConflict: an ``if_revision`` does not hold; nothing was written.
        :raises ValueError: a key stands in two of the writes, or is not a valid key.
        """
        await anyio.lowlevel.checkpoint()
        _check_keys([write.key for write in writes])
        for write in writes:
            revision = self._revision(write.key)
            if write.if_revision is not None and write.if_revision != revision:
                raise StateConflict(
                    f"key {write.key!r} has revision {revision}, not {write.if_revision}. Nothing was written.",
                    key=write.key,
                )
        return [
            self._delete(write.key) if write.value is None else self._put(write.key, write.value) for write in writes
        ]

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key, from behind the key ``after``, at most ``limit``."""
        await anyio.lowlevel.checkpoint()
        start = bisect_left(self._keys, prefix)
        if after is not None:
            start = max(start, bisect_right(self._keys, after))
        end = bisect_left(self._keys, True, start, key=lambda key: not key.startswith(prefix))
        return [self._stored[key] for key in self._keys[start : min(end, start + max(limit, 0))]]

    def _revision(self, key: str) -> int:
        stored = self._stored.get(key)
        return 0 if stored is None else stored.revision

    def _put(self, key: str, value: bytes) -> int:
        if key not in self._stored:
            insort(self._keys, key)
        revision = (self._revision(key) or self._deleted_revision) + 1
        self._stored[key] = Stored(key, bytes(value), revision)
        return revision

    def _delete(self, key: str) -> int:
        stored = self._stored.pop(key, None)
        if stored is not None:
            del self._keys[bisect_left(self._keys, key)]
            self._deleted_revision = max(self._deleted_revision, stored.revision)
        return 0


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise ValueError(f"key {key[:40]!r}: must have 1 to {LONGEST_KEY} characters, none of them NUL")
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r}: stands in two writes of one commit; a key can be written once")
