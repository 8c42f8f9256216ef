"""Reading what changed on a side, and marking the records that must be looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from ratesync.clock import Clock
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.ignored import Ignored
from ratesync.engine.sync.link_codec import from_bytes, to_bytes, waits_only
from ratesync.engine.sync.missing import Missing
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.seen import Seen
from ratesync.engine.sync.side import SyncSide
from ratesync.errors import CursorExpired, StateConflict
from ratesync.model.change import Change
from ratesync.model.difference import Side, View
from ratesync.model.link import RecordLink
from ratesync.model.mark import Mark
from ratesync.model.stored import Stored, Write
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.echo import is_echo

_EXPIRED = "the cursor had expired"


@define
class Pulled:
    """What a pull came to."""

    changes: int = 0
    """Changes told, our own included."""
    pages: int = 0
    impossible: list[str] = field(factory=list[str])
    """Ids that cannot stand in a key of the state store: their records are passed over."""
    missing: int = 0
    """Linked records that a whole listing lacks: they are marked, too."""
    listed: int | None = None
    """Records of a whole listing; None if there was none."""
    cursor: str | None = None
    cursor_before: str | None = None
    is_whole: bool = True
    """False: another engine reads the feed, too, and was faster."""


@define
class FeedPosition:
    """How far a feed was read, as it is stored."""

    cursor: str | None = None
    is_listing: bool = False
    """The feed is being read from its beginning: what it lacks in the end is gone."""
    hold_reason: str = ""
    revision: int | None = 0
    """Of the stored position that this one goes on from; None: of any."""
    is_resumed: bool = False
    """The listing was broken off: what it had seen by then is not known any more, so nothing counts as missing."""

    @classmethod
    def read(cls, stored: Stored | None) -> FeedPosition:
        """The position that was stored; from the beginning, if none was.

        A listing that was broken off is the first, before which nothing was linked, and goes on; or the one after a
        cursor had expired, by which deletes come to be known, and begins anew.
        """
        if stored is None:
            return cls(is_listing=True)
        value = from_bytes(stored.value)
        if value.get("l"):
            reason = value.get("h", "")
            return cls(None if reason else value["c"], True, reason, stored.revision, is_resumed=not reason)
        return cls(value["c"], revision=stored.revision)

    def written(self) -> bytes:
        """What to store."""
        value: dict[str, Any] = {"c": self.cursor}
        if self.is_listing:
            value |= {"l": True, "h": self.hold_reason}
        return to_bytes(value)


@frozen
class Puller:
    """Reads one side's feed, page by page. Marks and cursor are stored in one commit, so neither is ahead."""

    side: SyncSide
    books: Books
    settings: SyncSettings
    clock: Clock
    pulled: Pulled = field(factory=Pulled)
    tell_listed: Callable[[Pulled], None] = lambda _pulled: None
    """Is told after each page of a listing of the feed from its beginning."""

    async def pull(self) -> Pulled:
        """Read the feed to its end, and a whole listing where nothing else tells of deletes.

        :raises ProviderError: the side does not answer; what was read by then is kept.
        """
        with Seen() as seen:
            await self._pull_feed(seen)
        if self.side.deletes_by_listing:
            with Seen() as seen:
                await self._list(seen)
        return self.pulled

    async def _pull_feed(self, seen: Seen) -> None:
        (stored,) = await self.books.state.load([self._cursor_key])
        position = FeedPosition.read(stored)
        self.pulled.cursor_before = self.pulled.cursor = position.cursor
        while True:
            try:
                page = await self.side.changes(position.cursor, self.settings.page_size)
            except CursorExpired:
                if position.cursor is None:
                    raise
                position = FeedPosition(None, True, _EXPIRED, None)
                seen.forget()
                # Stored at once, and whoever moved the cursor since: should the provider take it again, it may have
                # forgotten deletes all the same.
                await self._stage((), position, moved=True)
                continue
            self.pulled.pages += 1
            if position.is_listing:
                _note(seen, page.changes)
            moved = page.cursor != position.cursor
            position.cursor = page.cursor
            is_last = not page.has_more
            is_listing = position.is_listing
            if is_last and is_listing:
                if not position.is_resumed:
                    await self._mark_missing(seen, position.hold_reason)
                    self.pulled.listed = len(seen)
                moved, position.is_listing = True, False
            if not await self._stage(page.changes, position, moved=moved):
                self.pulled.is_whole = False
                return
            self.pulled.cursor = position.cursor
            if is_listing:
                self.tell_listed(self.pulled)
            if is_last:
                return

    @property
    def _cursor_key(self) -> str:
        return self.books.keys.cursor(self.side.side)

    async def _list(self, seen: Seen) -> None:
        page_id = None
        while True:
            page = await self.side.listing(page_id, self.settings.page_size)
            self.pulled.pages += 1
            changes = [Change(record.record_id, record.version, record.fields) for record in page.records]
            _note(seen, changes)
            await self._stage(changes, None, moved=False)
            page_id = page.next_page
            if page_id is None:
                break
        self.pulled.listed = len(seen)
        await self._mark_missing(seen, "")
        await self._ignored.forget(seen.lacking, self.settings.page_size)

    async def _stage(self, changes: Sequence[Change], position: FeedPosition | None, *, moved: bool) -> bool:
        """Mark what changed and move the cursor, in one commit. False: another engine reads this feed."""
        self.pulled.changes += len(changes)
        news = await self.news(changes)
        writes = [mark_write(Mark(self.side.side, record_id), self.books.keys) for record_id in news]
        if position is not None and moved:
            writes.append(Write(self._cursor_key, position.written(), position.revision))
        if not writes:
            return True
        try:
            revisions = await self.books.state.commit(writes)
        except StateConflict:
            return False
        if position is not None and moved:
            position.revision = revisions[-1]
        return True

    async def news(self, changes: Sequence[Change], *, afresh: bool = False) -> list[str]:
        """The records that changed by more than we know of.

        :param afresh: look at those again, too, that were set aside or left alone by policy.
        """
        side, keys = self.side.side, self.books.keys
        told_ids = dict.fromkeys(change.record_id for change in changes)
        record_ids = [record_id for record_id in told_ids if keys.can_hold(record_id)]
        self.pulled.impossible += sorted(told_ids.keys() - set(record_ids))
        found = await self.books.link_ids([(side, record_id) for record_id in record_ids])
        of_record = {record_id: link_id for record_id, link_id in zip(record_ids, found, strict=True) if link_id}
        links = await self._load_links(of_record.values())
        told = {
            record_id: link
            for record_id, link_id in of_record.items()
            if (link := links.get(link_id)) is not None and link[0].end(side).record_id == record_id
        }
        await self.side.learn(change.fields for change in changes if change.fields is not None)
        for change in changes:
            known = told.get(change.record_id)
            if known is not None and not self._is_echo(change, known[0], afresh=afresh):
                del told[change.record_id]
        idle = await self._idle(told)
        if not afresh:
            unlinked = [change for change in changes if change.record_id not in of_record]
            idle |= await self._ignored.unchanged(unlinked, self._view)
        return [record_id for record_id in record_ids if record_id not in idle]

    def _is_echo(self, change: Change, link: RecordLink, *, afresh: bool) -> bool:
        is_left = afresh and bool(link.seen)
        return not is_left and is_echo(change, self._view(change), self.side.side, link)

    @property
    def _ignored(self) -> Ignored:
        return Ignored(self.side, self.books)

    async def _load_links(self, link_ids: Iterable[str]) -> dict[str, tuple[RecordLink, int]]:
        return await self.books.links(list(dict.fromkeys(link_ids)))

    async def _idle(self, echoes: dict[str, tuple[RecordLink, int]]) -> set[str]:
        """Those whose link nobody is working on. The others are marked anew, echo or not.

        Who has read a newer state, and not yet saved it, must hear of it when the record comes back to the older one.
        Marks are cleared after a link is saved: so they are looked at first, and then whether the link is still as it
        was. A mark that says what its record waits for says that nobody works on it.
        """
        idle = {record_id: known for record_id, known in echoes.items() if known[0].intent is None}
        if not idle:
            return set()
        keys = self.books.keys
        marks = [
            (record_id, keys.mark(side, end_id))
            for record_id, (link, _) in idle.items()
            for side in Side
            if (end_id := link.end(side).record_id) is not None
        ]
        for (record_id, _), mark in zip(marks, await self.books.state.load([key for _, key in marks]), strict=True):
            if mark is not None and not waits_only(mark.value):
                idle.pop(record_id, None)
        stored = await self.books.state.load([keys.link(link.link_id) for link, _ in idle.values()])
        return {
            record_id
            for (record_id, (_, revision)), now in zip(idle.items(), stored, strict=True)
            if now is not None and now.revision == revision
        }

    def _view(self, change: Change) -> View | None:
        if change.fields is None:
            return None
        try:
            return self.side.view(change.fields)
        except Exception:  # noqa: BLE001  a mapping of the host's may raise anything: reading the record will tell
            return None

    async def _mark_missing(self, seen: Seen, hold_reason: str) -> None:
        """Mark what is linked and was not listed."""

        async def among(record_ids: Sequence[str]) -> Collection[str]:
            return set(record_ids) - set(seen.lacking(record_ids))

        missing, limit = Missing(self.books, self.side.side, hold_reason, among), self.settings.page_size
        after = await missing.mark_anew(None, limit)
        while after is not None:
            after = await missing.mark_anew(after, limit)
        while True:
            page = await missing.of_links(after, limit)
            if page.writes:
                try:
                    await self.books.state.commit(page.writes)
                except StateConflict:
                    continue
            self.pulled.missing += page.count
            after = page.after
            if after is None:
                return


def _note(seen: Seen, changes: Iterable[Change]) -> None:
    seen.add(change.record_id for change in changes if not change.is_deleted)
