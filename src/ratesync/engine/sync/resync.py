"""A full resync: list all records of the sides anew, mark what is other than the links say, and what is missing.

What was seen is kept in the state store, so memory is bounded by a page, and whoever comes after a process that died
goes on at the same page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from ratesync.engine.sync.missing import Missing
from ratesync.engine.sync.pull import FeedPosition, Pulled, Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.resync_position import ResyncPosition, Stage
from ratesync.engine.sync.saving import mark_write
from ratesync.errors import CursorExpired, StateConflict
from ratesync.model.change import Change
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.run import SyncRun
from ratesync.model.stored import Write
from ratesync.randomness import operation_id

HELD = "a full resync did not find it"
"""Why the deletes that follow from a resync wait for approval."""

_AT_ONCE = 500


@define
class Resync:
    """Lists the sides of one binding."""

    reconciler: Reconciler
    run: SyncRun
    may_go_on: Callable[[], Awaitable[bool]]
    progress: Callable[[], None]
    _position: ResyncPosition = field(init=False)
    _revision: int = field(default=0, init=False)

    async def open(self, sides: Collection[Side]) -> bool:
        """Find the place to go on from, or begin with these sides; whether there is anything to do."""
        books = self.reconciler.books
        local, external = (books.keys.cursor(side) for side in Side)
        stored, *cursors = await books.state.load([books.keys.resync, local, external])
        found = ResyncPosition.read(stored)
        self.run.is_resumed = found is not None
        if found is None or stored is None:
            before = {str(side): FeedPosition.read(each).cursor for side, each in zip(Side, cursors, strict=True)}
            names = [str(side) for side in Side if side in sides]
            if not names:
                return False
            found = ResyncPosition(self._new_epoch(), names, before=before)
        else:
            self._revision = stored.revision
        self._position = found
        self._count()
        return True

    async def list_sides(self) -> dict[Side, Pulled] | None:
        """Read all sides to their end, from where it was left; what was listed. None: it was stopped before.

        :raises ProviderError: a side does not answer. Call it again to go on.
        :raises StateConflict: another engine goes on with it.
        """
        work = {
            Stage.LIST: self._list,
            Stage.COMPARE_MARKS: self._compare_marks,
            Stage.COMPARE_LINKS: self._compare_links,
            Stage.CLEAN: self._clean,
        }
        while self._position.stage != Stage.RECONCILE:
            if not await self.may_go_on():
                self.run.is_stopped = True
                return None
            await work[Stage(self._position.stage)](self._position)
            self._count()
            self.progress()
        return {Side(side): Pulled(listed=count) for side, count in self._position.listed.items()}

    async def count_marks(self) -> None:
        """Note how many marks there are to go through."""
        after, count = None, 0
        while True:
            marks, after = await self.reconciler.books.marks(after, _AT_ONCE)
            count += len(marks)
            if after is None:
                self.run.marks_left = count
                return

    async def end(self) -> None:
        """Forget the position: the resync is done."""
        books = self.reconciler.books
        with suppress(StateConflict):  # somebody goes on with it, and will find nothing to do
            await books.state.commit([Write(books.keys.resync, None, self._revision)])

    def _count(self) -> None:
        position = self._position
        self.run.pages, self.run.records, self.run.missing = position.pages, position.records, position.missing

    async def _list(self, position: ResyncPosition) -> None:
        """One page."""
        reconciler, name = self.reconciler, str(position.side)
        try:
            page = await reconciler.pair.side(position.side).changes(position.cursor, reconciler.settings.page_size)
        except CursorExpired:
            if position.cursor is None:
                raise
            await self._store(self._anew(position, cursor=None, listed={**position.listed, name: 0}))
            return
        told = dict.fromkeys(change.record_id for change in page.changes if not change.is_deleted)
        present = list(filter(reconciler.books.keys.can_hold, told))
        seen, epoch = reconciler.books.keys.seen, position.epoch.encode()
        writes = await self._news(page.changes)
        writes += [Write(seen(position.side, record_id), epoch) for record_id in present]
        new = evolve(
            position,
            cursor=page.cursor,
            listed={**position.listed, name: position.listed.get(name, 0) + len(present)},
            pages=position.pages + 1,
            records=position.records + len(page.changes),
        )
        if not page.has_more:
            new = evolve(new, feed=page.cursor, cursor=None, stage=Stage.COMPARE_MARKS)
            self.run.cursors[position.side] = position.before.get(name), page.cursor
        await self._store(new, writes)

    async def _news(self, changes: Sequence[Change]) -> list[Write]:
        reconciler = self.reconciler
        side = reconciler.pair.side(self._position.side)
        puller = Puller(side, reconciler.books, reconciler.settings, reconciler.clock)
        news = await puller.news(changes, afresh=True)
        self.run.note_impossible(side.side, puller.pulled.impossible)
        return [mark_write(Mark(side.side, record_id), reconciler.books.keys) for record_id in news]

    async def _compare_marks(self, position: ResyncPosition) -> None:
        """One page of marks."""
        after = await self._missing().mark_anew(position.cursor, _AT_ONCE)
        stage = Stage.COMPARE_LINKS if after is None else Stage.COMPARE_MARKS
        await self._store(evolve(position, cursor=after, stage=stage))

    async def _compare_links(self, position: ResyncPosition) -> None:
        """One page of links."""
        page = await self._missing().of_links(position.cursor, _AT_ONCE)
        stage = Stage.CLEAN if page.after is None else Stage.COMPARE_LINKS
        new = evolve(position, cursor=page.after, stage=stage, missing=position.missing + page.count)
        await self._store(new, page.writes)

    def _missing(self) -> Missing:
        return Missing(self.reconciler.books, self._position.side, HELD, self._seen)

    async def _seen(self, record_ids: Sequence[str]) -> Collection[str]:
        books, side, epoch = self.reconciler.books, self._position.side, self._position.epoch.encode()
        found = await books.state.load([books.keys.seen(side, each) for each in record_ids]) if record_ids else ()
        return {each for each, one in zip(record_ids, found, strict=True) if one is not None and one.value == epoch}

    async def _clean(self, position: ResyncPosition) -> None:
        """Forget a page of what was seen; at the end the side's feed goes on from where the listing has come to."""
        books = self.reconciler.books
        page = await books.state.scan(books.keys.all_seen(position.side), limit=_AT_ONCE)
        if page:
            await books.state.commit([Write(stored.key, None) for stored in page])
            return
        cursor = Write(books.keys.cursor(position.side), FeedPosition(position.feed).written())
        sides = position.sides[1:]
        stage = Stage.LIST if sides else Stage.RECONCILE
        await self._store(self._anew(position, sides=sides, stage=stage), [cursor])

    def _anew(self, position: ResyncPosition, **changes: Any) -> ResyncPosition:
        """The position with a new epoch."""
        return evolve(position, epoch=self._new_epoch(), **changes)

    async def _store(self, position: ResyncPosition, writes: Sequence[Write] = ()) -> None:
        """Go on to a position, with what belongs to it; stay where it is if that was outdated meanwhile."""
        books = self.reconciler.books
        own = Write(books.keys.resync, position.written(), self._revision)
        try:
            self._revision = (await books.state.commit([own, *writes]))[0]
        except StateConflict as conflict:
            if conflict.key != own.key:
                return
            raise StateConflict("another engine goes on with this resync", key=own.key) from None
        self._position = position

    def _new_epoch(self) -> str:
        return operation_id(self.reconciler.clock.now(), self.reconciler.source)
