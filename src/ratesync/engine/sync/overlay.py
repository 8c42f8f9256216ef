"""A state store on top of another one, which it never writes to: for looking ahead."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from attrs import define, field

from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.protocols import StateStore


@define
class Overlay:
    """Keeps what is written to itself, and reads the rest from below. It is thrown away after use."""

    below: StateStore
    _written: dict[str, Stored | None] = field(factory=dict[str, "Stored | None"], init=False)
    _keys: list[str] = field(factory=list[str], init=False)
    _count: int = field(default=2**40, init=False)
    """Above every revision below."""

    async def open(self) -> None:
        """Nothing to do: what is below is open."""

    async def close(self) -> None:
        """Nothing to do."""

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys."""
        found = await self.below.load(keys)
        return [self._written.get(key, stored) for key, stored in zip(keys, found, strict=True)]

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Keep all writes, or none."""
        before = await self.load([write.key for write in writes])
        for write, stored in zip(writes, before, strict=True):
            if write.if_revision not in {None, 0 if stored is None else stored.revision}:
                raise StateConflict(f"key {write.key!r} has another revision", key=write.key)
        return [self._keep(write) for write in writes]

    def _keep(self, write: Write) -> int:
        self._count += 1
        if write.key not in self._written:
            insort(self._keys, write.key)
        self._written[write.key] = None if write.value is None else Stored(write.key, write.value, self._count)
        return 0 if write.value is None else self._count

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key."""
        found: list[Stored] = []
        start: str | None = after
        while len(found) < limit:
            page = await self.below.scan(prefix, after=start, limit=limit)
            end = page[-1].key if len(page) == limit else None
            own = self._own(prefix, start, end, limit)
            below = (stored for stored in page if stored.key not in self._written)
            found += sorted((*own, *below), key=lambda stored: stored.key)
            if end is None:
                break
            start = end
        return found[:limit]

    def _own(self, prefix: str, after: str | None, end: str | None, limit: int) -> list[Stored]:
        """The first of what is kept here, behind a key and not behind the end, if there is one."""
        first = max(bisect_left(self._keys, prefix), 0 if after is None else bisect_right(self._keys, after))
        found: list[Stored] = []
        for index in range(first, len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix) or (end is not None and key > end) or len(found) == limit:
                break
            kept = self._written[key]
            if kept is not None:
                found.append(kept)
        return found
