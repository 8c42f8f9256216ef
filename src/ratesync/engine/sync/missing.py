"""What a whole listing of a side lacks: it is marked, and read once more before it counts as deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from attrs import evolve, frozen

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.link_codec import decode_link, encode_link
from ratesync.engine.sync.saving import mark_write
from ratesync.errors import StateConflict
from ratesync.model.difference import Side
from ratesync.model.intent import Creating
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.mark import Mark
from ratesync.model.stored import Stored, Write


@frozen
class MissingPage:
    """What came of a page of links."""

    count: int
    """Records that were not listed."""
    writes: Sequence[Write]
    """What marks and holds them. Refused if a link was changed meanwhile: then the page must be read again."""
    after: str | None
    """The key to go on from; None at the end."""


@frozen
class Missing:
    """Goes through what is known of a side, page by page: first the marks, and then the links.

    Marks come first: who has read a record that went since, and has not linked it yet, must look again.
    """

    books: Books
    side: Side
    hold_reason: str
    """Why a delete that follows needs approval; empty if it needs none of its own."""
    seen: Callable[[Sequence[str]], Awaitable[Collection[str]]]
    """Those of the records that were listed."""

    async def mark_anew(self, after: str | None, limit: int) -> str | None:
        """Write a page of marks anew, those whose records were not listed; the key to go on from, None at the end."""
        state, keys = self.books.state, self.books.keys
        page = await state.scan(keys.marks, after=after, limit=limit)
        marks = {marked[1]: mark for mark in page if (marked := keys.marked(mark.key))[0] is self.side}
        seen = await self.seen(list(marks))
        for record_id, mark in marks.items():
            if record_id not in seen:
                with suppress(StateConflict):  # done, or marked anew already
                    await state.commit([Write(mark.key, mark.value, mark.revision)])
        return page[-1].key if len(page) == limit else None

    async def of_links(self, after: str | None, limit: int) -> MissingPage:
        """What marks those of a page of links whose records were not listed."""
        keys = self.books.keys
        page = await self.books.state.scan(keys.links, after=after, limit=limit)
        links = [(stored, decode_link(stored.value)) for stored in page]
        expected = {record_id: known for known in links if (record_id := self._listed_id(known[1])) is not None}
        seen = await self.seen(list(expected))
        missing = [record_id for record_id in expected if record_id not in seen]
        writes = [mark_write(Mark(self.side, record_id), keys) for record_id in missing]
        writes += [hold for record_id in missing if (hold := self._hold(*expected[record_id])) is not None]
        return MissingPage(len(missing), writes, page[-1].key if len(page) == limit else None)

    def _listed_id(self, link: RecordLink) -> str | None:
        """The record that the listing must have named; None where the link says nothing of it."""
        end = link.end(self.side)
        was_there = self.side in link.seen if link.seen else end.base is not None
        is_kept = link.status in {LinkStatus.ACTIVE, LinkStatus.QUARANTINED}
        return end.record_id if is_kept and (was_there or link.intent is not None) else None

    def _hold(self, stored: Stored, link: RecordLink) -> Write | None:
        """What keeps with the link that a delete of it needs approval: a mark may be written anew by anybody.

        Not where a record is just being made: whoever makes it must be able to store what came of it.
        """
        is_made = link.intent is not None and isinstance(link.intent.step, Creating)
        if not self.hold_reason or link.hold_reason or is_made:
            return None
        return Write(stored.key, encode_link(evolve(link, hold_reason=self.hold_reason)), stored.revision)
