"""A full resync: list all records of the sides anew, mark what is other than the links say, and what is missing.

What was seen is kept in the state store, so memory is bounded by a page, and whoever comes after a process that died
goes on at the same page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from ratesync.engine.sync.link_codec import encode_mark
from ratesync.engine.sync.pull import FeedPosition, Pulled, Puller, listed_id
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.resync_position import ResyncPosition, Stage
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

    async def open(self, sides: Iterable[Side]) -> None:
        """Find the place to go on from, or begin."""
        books = self.reconciler.books
        local, external = (books.keys.cursor(side) for side in Side)
        stored, *cursors = await books.state.load([books.keys.resync, local, external])
        found = ResyncPosition.read(stored)
        self.run.is_resumed = found is not None
        if found is None or stored is None:
            before = {str(side): FeedPosition.read(each).cursor for side, each in zip(Side, cursors, strict=True)}
            names = [str(side) for side in Side if side in sides]
            found = ResyncPosition(self._new_epoch(), names, before=before)
        else:
            self._revision = stored.revision
        self._position = found
        self._count()

    async def list_sides(self) -> dict[Side, Pulled] | None:
        """Read all sides to their end, from where it was left; what was listed. None: it was stopped before.

        :raises ProviderError: a side does not answer. Call it again to go on.
        :raises StateConflict: another engine goes on with it.
        """
        work = {Stage.LIST: self._list, Stage.COMPARE: self._compare, Stage.CLEAN: self._clean}
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
        present = list(dict.fromkeys(change.record_id for change in page.changes if not change.is_deleted))
        writes = [*await self._news(page.changes), *await self._seen(present)]
        new = evolve(
            position,
            cursor=page.cursor,
            listed={**position.listed, name: position.listed.get(name, 0) + len(present)},
            pages=position.pages + 1,
            records=position.records + len(page.changes),
        )
        if not page.has_more:
            new = evolve(new, feed=page.cursor, cursor=None, stage=Stage.COMPARE)
            self.run.cursors[position.side] = position.before.get(name), page.cursor
        await self._store(new, writes)

    async def _news(self, changes: Sequence[Change]) -> list[Write]:
        reconciler = self.reconciler
        side = reconciler.pair.side(self._position.side)
        news = await Puller(side, reconciler.books, reconciler.settings, reconciler.clock).news(changes)
        return self._marks(news)

    def _marks(self, record_ids: Iterable[str], hold_reason: str = "") -> list[Write]:
        keys, side = self.reconciler.books.keys, self._position.side
        return [
            Write(keys.mark(side, record_id), encode_mark(Mark(side, record_id, hold_reason=hold_reason)))
            for record_id in record_ids
        ]

    async def _seen(self, record_ids: Sequence[str]) -> list[Write]:
        """Notes that linked records are there. What has no link yet cannot be missing."""
        books, side = self.reconciler.books, self._position.side
        link_ids = await books.link_ids([(side, record_id) for record_id in record_ids])
        epoch = self._position.epoch.encode()
        return [
            Write(books.keys.seen(side, record_id), epoch)
            for record_id, link_id in zip(record_ids, link_ids, strict=True)
            if link_id is not None
        ]

    async def _compare(self, position: ResyncPosition) -> None:
        """One page of links: those whose records were not listed are marked."""
        books, side = self.reconciler.books, position.side
        page = await books.state.scan(books.keys.links, after=position.cursor, limit=_AT_ONCE)
        ids = [record_id for stored in page if (record_id := listed_id(stored, side)) is not None]
        found = await books.state.load([books.keys.seen(side, record_id) for record_id in ids]) if ids else ()
        epoch = position.epoch.encode()
        missing = [
            record_id for record_id, stored in zip(ids, found, strict=True) if stored is None or stored.value != epoch
        ]
        new = evolve(position, missing=position.missing + len(missing))
        is_last = len(page) < _AT_ONCE
        new = evolve(new, cursor=None, stage=Stage.CLEAN) if is_last else evolve(new, cursor=page[-1].key)
        await self._store(new, self._marks(missing, HELD))

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
        books = self.reconciler.books
        own = Write(books.keys.resync, position.written(), self._revision)
        try:
            self._revision = (await books.state.commit([own, *writes]))[0]
        except StateConflict:
            raise StateConflict("another engine goes on with this resync", key=own.key) from None
        self._position = position

    def _new_epoch(self) -> str:
        return operation_id(self.reconciler.clock.now(), self.reconciler.source)
