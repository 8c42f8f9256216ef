"""The passes of a binding that are kept: storing one with its first write, and listing them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field, frozen

from ratesync.clock import Clock
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.engine.sync.run_codec import decode_run, encode_run
from ratesync.errors import StateConflict
from ratesync.model.run import SyncRun
from ratesync.model.stored import Stored, Write
from ratesync.protocols import StateStore

_UPDATE_AFTER = 10.0
"""Seconds after which a run that goes on writing is stored anew."""
_FORGOTTEN_AT_ONCE = 20
"""Old runs that go with each new one: more than one, so that a smaller retention takes hold by and by."""
_TRIES = 20


@frozen
class _Count:
    """How many runs were stored, and from which one on they are kept."""

    last: int = 0
    oldest: int = 1
    run_id: str = ""
    """Of the last one."""
    revision: int = 0

    @classmethod
    def read(cls, stored: Stored | None) -> _Count:
        if stored is None:
            return cls()
        value = from_bytes(stored.value)
        return cls(value["n"], value["o"], value["id"], stored.revision)


async def list_runs(state: StateStore, keys: Keys, *, limit: int, before: int | None) -> list[SyncRun]:
    """Runs, the newest first: at most ``limit`` of those with a number below ``before``."""
    after = None if before is None else keys.run(before)
    return [decode_run(stored.value) for stored in await state.scan(keys.runs, after=after, limit=limit)]


@define
class Journal:
    """A state store for one pass, which takes the record of the pass along with what it writes.

    The record is stored with the first write, in the same commit: so a pass that did something is in the history
    whatever becomes of its process, and one that did nothing writes nothing. A cursor that moves by itself, as with
    time, is nothing.
    """

    below: StateStore
    keys: Keys
    run: SyncRun
    clock: Clock
    keep: int
    """Runs that are kept."""
    _revision: int = field(default=0, init=False)
    """Of the stored run."""
    _is_forgotten: bool = field(default=False, init=False)

    async def open(self) -> None:
        """Nothing to do: what is below is open."""

    async def close(self) -> None:
        """Nothing to do."""

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys."""
        return await self.below.load(keys)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key."""
        return await self.below.scan(prefix, after=after, limit=limit)

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none, and store the run with them where that is due."""
        if self.is_stored:
            is_due = self.clock.now() - self.run.updated_at >= _UPDATE_AFTER
        else:
            is_due = not all(write.key.startswith(self.keys.cursors) for write in writes)
        revisions = await self._commit(writes) if is_due else await self.below.commit(writes)
        for write in writes:
            self.run.conflicts += write.value is not None and write.key.startswith(self.keys.conflicts)
            self.run.dropped += write.value is not None and write.key.startswith(self.keys.all_lost)
        return revisions

    @property
    def is_stored(self) -> bool:
        """The run is, or was, in the history."""
        return self.run.number > 0

    async def store(self) -> None:
        """Store the run as it is now."""
        await self._commit(())

    async def _commit(self, writes: Sequence[Write]) -> Sequence[int]:
        for _ in range(_TRIES):
            count = None if self.is_stored else await self._count()
            own = self._update() if count is None else self._first(count)
            try:
                revisions = await self.below.commit([*writes, *own]) if own or writes else ()
            except StateConflict as conflict:
                if conflict.key not in {write.key for write in own}:
                    raise
                if count is None:
                    await self._look_again()
                continue
            if count is not None:
                self.run.number = count.last + 1
            if own:
                self._revision = revisions[len(writes)]
            return revisions[: len(writes)]
        raise StateConflict("runs are being stored all the time: try again", key=self.keys.run_count)

    async def _count(self) -> _Count | None:
        """The runs so far. None: this one is among them, stored by a commit whose answer was lost."""
        (stored,) = await self.below.load([self.keys.run_count])
        count = _Count.read(stored)
        if count.run_id != self.run.run_id:
            return count
        self.run.number = count.last
        await self._look_again()
        return None

    def _first(self, count: _Count) -> list[Write]:
        """What stores the run for the first time, and forgets old ones."""
        number = count.last + 1
        kept_from = max(count.oldest, min(number - self.keep + 1, count.oldest + _FORGOTTEN_AT_ONCE))
        self.run.updated_at = self.clock.now()
        return [
            Write(self.keys.run(number), encode_run(evolve(self.run, number=number))),
            Write(self.keys.run_count, to_bytes({"n": number, "o": kept_from, "id": self.run.run_id}), count.revision),
            *(Write(self.keys.run(old), None) for old in range(count.oldest, kept_from)),
        ]

    def _update(self) -> list[Write]:
        if self._is_forgotten:
            return []
        self.run.updated_at = self.clock.now()
        return [Write(self.keys.run(self.run.number), encode_run(self.run), self._revision)]

    async def _look_again(self) -> None:
        """The revision that the run has now; or it was forgotten, for so many came after it."""
        (stored,) = await self.below.load([self.keys.run(self.run.number)])
        self._revision, self._is_forgotten = (0, True) if stored is None else (stored.revision, False)
