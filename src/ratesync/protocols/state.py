"""The contract of a state store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ratesync.model.stored import Stored, Write


@runtime_checkable
class StateStore(Protocol):
    """Keeps small values with revisions: checkpoints, links, what must outlive a run.

    Keys are non-empty strings without NUL, at most 512 characters. Commits are atomic and isolated: readers see all of
    one or nothing. Every method may be cancelled at any await; it has then done all of its work or none of it.
    """

    async def open(self) -> None:
        """Get ready for use. Called once by each engine that uses the store."""
        ...

    async def close(self) -> None:
        """Let go of connections and tasks; values stay. Called once for each ``open``."""
        ...

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys; None where there is none."""
        ...

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none; the new revision of each, 0 for a deleted key.

        A revision is never used twice for the same key, also not after a delete.

        :raises StateConflict: an ``if_revision`` does not hold; nothing was written.
        :raises ValueError: a key stands in two of the writes, or is not a valid key.
        """
        ...

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key, from behind the key ``after``, at most ``limit``."""
        ...
