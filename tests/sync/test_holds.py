"""Deletes that need approval: whatever happens before, they wait for it, until the record is there again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.link_codec import encode_link
from ratesync.engine.sync.pull import Puller
from ratesync.engine.sync.resync import HELD, Resync
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.sync_pass import always
from ratesync.memory.state import MemoryStateStore
from ratesync.model.change import ChangePage
from ratesync.model.conflict import Take
from ratesync.model.difference import Side
from ratesync.model.intent import Creating, Intent
from ratesync.model.lane import Lane
from ratesync.model.mark import Mark
from ratesync.model.run import SyncRun
from ratesync.model.stored import Stored, Write
from ratesync.protocols import StateStore
from ratesync.rules.resolvers import manual
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio
EXPIRED = "the cursor had expired"


class Expiring(FakeCrm):
    """Forgets the cursor, once it is told to."""

    expires = False

    @override
    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        if self.expires:
            self.expires = False
            self.expire()
        return await super().pull_changes(lane, resource, cursor, limit)


async def without_one(*, tombstones: bool = True, **pair: Any) -> Desk:
    """Five records, of which the provider has lost one together with the cursor; and that was pulled."""
    desk = Desk(evolve(PLAIN, tombstones=tombstones), crm=Expiring, **pair)
    for number in range(5):
        desk.crm.put(f"x{number}", {"name": f"n{number}"})
    await desk.sync()
    await desk.sync()
    if pair:  # a conflict about it is open
        desk.local.change(next(iter(desk.local.records)), name="ours")
        desk.crm.put("x0", {"name": "theirs"})
        await desk.sync()
    desk.crm.remove("x0")
    assert isinstance(desk.crm, Expiring)
    desk.crm.expires = True
    await pull(desk)
    return desk


async def pull(desk: Desk) -> None:
    reconciler = desk.reconciler
    await Puller(reconciler.pair.external, reconciler.books, reconciler.settings, reconciler.clock).pull()


async def mark(desk: Desk, side: Side, record_id: str) -> None:
    await desk.state.commit([mark_write(Mark(side, record_id), desk.reconciler.books.keys)])


def held(run: SyncRun) -> tuple[int, str]:
    return run.held, run.hold_reason


@pytest.mark.parametrize("tombstones", [True, False])
async def test_a_hint_that_comes_late_does_not_end_a_hold(tombstones: bool) -> None:
    desk = await without_one(tombstones=tombstones)
    await mark(desk, Side.EXTERNAL, "x0")
    assert held(await desk.sync()) == (1, EXPIRED)
    await mark(desk, Side.EXTERNAL, "x0")
    assert held(await desk.sync()) == (1, EXPIRED)
    assert len(desk.local.records) == 5
    await Deletions(desk.reconciler, lambda _cases: None).approve()
    assert held(await desk.sync()) == (0, "")
    assert len(desk.local.records) == 4


async def test_a_decision_about_a_conflict_does_not_end_a_hold() -> None:
    desk = await without_one(resolve=manual())
    book = ConflictBook(desk.reconciler.books)
    (conflict,) = [each async for each in book.conflicts()]
    assert await book.resolve(conflict, Take(Side.EXTERNAL))
    (link,) = [each for each in await desk.links() if each.external.record_id == "x0"]
    assert link.hold_reason == EXPIRED


async def test_a_hold_ends_when_the_record_is_there_again() -> None:
    desk = await without_one()
    desk.crm.put("x0", {"name": "n0"})
    assert held(await desk.sync()) == (0, "")
    desk.crm.remove("x0")
    run = await desk.sync()
    assert (run.actions, held(run)) == ({"delete": 1}, (0, ""))


class Busy(MemoryStateStore):
    """Somebody changes a link before the first commit that is about one."""

    before: Callable[[StateStore], Awaitable[None]] | None = None

    @override
    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        before = self.before
        if before is not None and any("/link/" in write.key for write in writes):
            self.before = None
            await before(self)
        return await super().commit(writes)


@pytest.mark.parametrize("resyncs", [True, False])
async def test_a_link_that_is_changed_while_its_record_is_found_missing_is_held_all_the_same(resyncs: bool) -> None:
    desk = Desk(crm=Expiring)
    desk.state = Busy()
    desk.reconciler = evolve(desk.reconciler, books=Books(desk.state, desk.reconciler.books.keys))
    desk.crm.put("x0", {"name": "n0"})
    await desk.sync()
    await desk.sync()
    desk.crm.remove("x0")
    assert isinstance(desk.crm, Expiring)
    desk.crm.expires = not resyncs

    async def touch(state: StateStore) -> None:
        (stored,) = await links(state, desk)
        await state.commit([Write(stored.key, stored.value)])

    desk.state.before = touch
    if resyncs:
        run = SyncRun("run", 0.0)
        resync = Resync(desk.reconciler, run, always, lambda: None)
        await resync.open([Side.EXTERNAL])
        await resync.list_sides()
        assert run.missing == 1
    else:
        await pull(desk)
    assert desk.state.before is None
    (link,) = await desk.links()
    assert link.hold_reason == (HELD if resyncs else EXPIRED)


async def links(state: StateStore, desk: Desk) -> Sequence[Stored]:
    return await state.scan(desk.reconciler.books.keys.links)


async def test_who_makes_a_record_is_not_disturbed_by_a_hold() -> None:
    """What came of it could not be stored, and where nothing tells a lost create, a person would have to look."""
    desk = Desk(crm=Expiring)
    desk.crm.put("x0", {"name": "n0"})
    await desk.sync()
    await desk.sync()
    (stored,) = await links(desk.state, desk)
    (link,) = await desk.links()
    making = evolve(link, intent=Intent("op", "another", 1e12, 0.0, Creating(Side.LOCAL, {}, None, None, 0.0)))
    await desk.state.commit([Write(stored.key, encode_link(making))])
    desk.crm.remove("x0")
    assert isinstance(desk.crm, Expiring)
    desk.crm.expires = True
    await pull(desk)
    assert await desk.links() == [making]
