"""A state store on top of another one, which it never writes to: for looking ahead."""

from __future__ import annotations

from bisect import insort
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
        found: dict[str, Stored] = {}
        start: str | None = after
        while True:
            page = await self.below.scan(prefix, after=start, limit=limit)
            found |= {stored.key: stored for stored in page if stored.key not in self._written}
            start = page[-1].key if page else start
            is_last = len(page) < limit
            for key in self._keys:
                kept = self._written[key]
                is_in = key.startswith(prefix) and key > (after or "") and (is_last or key <= (start or ""))
                if kept is not None and is_in:
                    found[key] = kept
            if is_last or len(found) >= limit:
                return [found[key] for key in sorted(found)[:limit]]
