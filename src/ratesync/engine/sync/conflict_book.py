"""Conflicts that wait for a person, and values that were dropped: listing them, and deciding."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from attrs import evolve, frozen

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.link_codec import (
    decode_conflict,
    digest,
    encode_link,
    from_bytes,
    pack_resolution,
    unpack_losers,
)
from ratesync.engine.sync.saving import mark_write
from ratesync.errors import StateConflict
from ratesync.model.conflict import Resolution
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.open_conflict import Dropped, OpenConflict
from ratesync.model.stored import Write

_TRIES = 10


@frozen
class ConflictBook:
    """The conflicts of one binding."""

    books: Books

    async def conflicts(self) -> AsyncGenerator[OpenConflict]:
        """All conflicts that wait, page by page."""
        async for stored in self.books.all(self.books.keys.conflicts):
            yield decode_conflict(stored.value)

    async def dropped(self) -> AsyncGenerator[Dropped]:
        """All that steps dropped, oldest first. A step that was broken off may be told though it dropped nothing."""
        prefix = self.books.keys.all_lost
        async for stored in self.books.all(prefix):
            value = from_bytes(stored.value)
            losers = unpack_losers(value["lost"])
            local_id, external_id = value["ids"]
            yield Dropped(stored.key[len(prefix) :], value["link"], local_id, external_id, value["at"], losers)

    async def resolve(self, open_conflict: OpenConflict, resolution: Resolution) -> bool:
        """Decide a conflict; the next pass carries it out. False if it is not open any more, or about other values.

        The decision is stored, and holds for just these values: should somebody change one before it is carried out,
        the conflict stays open.
        """
        keys, conflict = self.books.keys, open_conflict.conflict
        about = digest(conflict.local, conflict.external)
        for _ in range(_TRIES):
            link, revision = (await self.books.links([open_conflict.link_id])).get(open_conflict.link_id, (None, 0))
            if link is None or link.deferred.get(conflict.name) != about:
                return False
            decided = {"of": about, "as": pack_resolution(resolution)}
            new = evolve(link, resolved={**link.resolved, conflict.name: decided})
            ids = [(side, record_id) for side in Side if (record_id := link.end(side).record_id) is not None]
            marks = [mark_write(Mark(side, record_id), keys) for side, record_id in ids]
            writes = [Write(keys.link(link.link_id), encode_link(new), revision), *marks]
            try:
                await self.books.state.commit(writes)
            except StateConflict:
                continue
            return True
        raise StateConflict("the link is being changed all the time: try again", key=keys.link(open_conflict.link_id))
