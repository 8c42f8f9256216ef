"""A full resync: all records are listed anew, whatever becomes of the process meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from attrs import evolve
from typing_extensions import override

from ratesync import SyncEngine
from ratesync.engine.sync.pull import FeedPosition
from ratesync.errors import CursorExpired, StateConflict, Unavailable
from ratesync.memory import MemoryStateStore
from ratesync.model.change import ChangePage
from ratesync.model.difference import Side
from ratesync.model.event import SyncFinished, SyncProgressed
from ratesync.model.run import RunKind, SyncRun
from ratesync.model.stored import Write
from ratesync.model.sync_settings import SyncSettings
from tests.sync.test_desk import binding
from tests.sync.test_run import Watched, World, anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio
PREFIX = "sync/crm/default/contacts/"


async def alike(count: int) -> World:
    """Two sides that were synced, with so many records."""
    world = World()
    for number in range(count):
        world.local.put(f"l{number:04}", {"name": f"n{number:04}"})
    async with world.engine() as engine:
        await engine.sync(binding(world.local))
        await engine.sync(binding(world.local))  # hears of its own writes
    world.crm.pulls.clear()
    world.events.clear()
    await anyio.sleep(1)
    return world


def small(engine: SyncEngine) -> SyncEngine:
    """With small pages."""
    engine.syncs.settings = evolve(engine.syncs.settings, sync=SyncSettings(page_size=10, chunk=20))
    return engine


def lose(world: World, number: int) -> str:
    """Delete a record at the provider, and its feed tells nothing of it."""
    inner = world.crm.inner
    record_id: str = next(key for key, record in inner.records.items() if record.fields["name"] == f"n{number:04}")
    del inner.records[record_id]
    inner.changed.pop(record_id)
    return record_id


def alter(world: World, number: int) -> None:
    """Change a record at the provider, and its feed tells nothing of it."""
    inner = world.crm.inner
    record_id: str = next(key for key, record in inner.records.items() if record.fields["name"] == f"n{number:04}")
    changed = inner.changed[record_id]
    inner.put(record_id, {"name": f"m{number:04}"})
    inner.changed[record_id] = changed
    inner.changed = dict(sorted(inner.changed.items(), key=lambda item: item[1][1]))


async def test_it_finds_what_no_feed_told_and_holds_the_deletes_until_they_are_approved() -> None:
    world = await alike(55)
    alter(world, 7)
    lose(world, 9)
    async with world.engine() as engine:
        small(engine)
        await engine.sync(binding(world.local))
        assert "n0007" in world.names()[0]  # the feed told nothing
        run = await engine.syncs.resync(binding(world.local))
        assert (run.kind, run.missing, run.held, run.is_resumed) == (RunKind.RESYNC, 1, 1, False)
        assert run.hold_reason == "a full resync did not find it"
        assert (run.pages, run.records, run.marks_left) == (6 + 6, 55 + 54, 0)
        assert run.actions == {"pull": 1}
        assert "m0007" in world.names()[0]
        assert "n0009" in world.names()[0]
        (stored, _) = await engine.syncs.history(binding(world.local))
        assert stored == run
        assert await engine.syncs.approve_deletes(binding(world.local)) == 1
        await engine.sync(binding(world.local))
        assert "n0009" not in world.names()[0]
        progress = world.told(SyncProgressed)
        listing = [event.pages for event in progress if event.phase == "pull"]
        assert listing == sorted(listing)
        assert listing[-1] == 12
        assert [event.marks_left for event in progress if event.phase == "reconcile"] == [0]
        assert [event.kind for event in world.told(SyncFinished)] == ["changes", "resync", "changes"]
    left = [stored.key for stored in await world.state.scan(PREFIX, limit=10_000)]
    assert not any(key.startswith((f"{PREFIX}seen/", f"{PREFIX}resync", f"{PREFIX}mark/")) for key in left)


async def test_a_cursor_that_went_astray_is_forgotten() -> None:
    world = await alike(5)
    astray = Write(f"{PREFIX}cursor/x", FeedPosition("999").written())
    await world.state.commit([astray])
    async with world.engine() as engine:
        record_id = next(iter(world.crm.inner.records))
        world.crm.inner.put(record_id, {"name": "told to nobody"})
        assert (await engine.sync(binding(world.local))).actions == {}
        run = await engine.syncs.resync(binding(world.local))
        assert run.cursors[Side.EXTERNAL] == ("999", "6")
        assert "told to nobody" in world.names()[0]
        world.crm.inner.put(record_id, {"name": "told again"})
        await engine.sync(binding(world.local))
        assert "told again" in world.names()[0]


async def test_what_is_in_order_is_listed_and_not_touched() -> None:
    world = await alike(55)
    async with world.engine() as engine:
        small(engine)
        calls = world.crm.calls
        run = await engine.syncs.resync(binding(world.local))
        assert (run.actions, run.missing, run.records) == ({}, 0, 110)
        assert world.crm.calls - calls == 6  # its pages, and no record


class Killed(BaseException):
    """The process ends."""


class Mortal(MemoryStateStore):
    """A store of a process that is killed at its n-th commit, before or after it."""

    def __init__(self, below: MemoryStateStore, left: int, *, after: bool) -> None:
        super().__init__()
        self.below, self.left, self.after = below, left, after
        self.load, self.scan = below.load, below.scan  # type: ignore[method-assign]

    @override
    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.after):
            raise Killed
        done = await self.below.commit(writes)
        if self.left == 0:
            raise Killed
        return done


@pytest.mark.parametrize("after", [False, True])
async def test_killed_at_any_commit_it_goes_on_at_the_same_page(after: bool) -> None:
    world = await alike(45)
    for number in (3, 22, 41):
        alter(world, number)
    for number in (5, 25):
        lose(world, number)
    kills, pages = 0, 0
    world.crm.pulls.clear()
    while True:
        try:
            async with world.engine(state=Mortal(world.state, 4, after=after)) as engine:
                small(engine)
                await engine.syncs.resync(binding(world.local))
            break
        except Killed:
            kills += 1
            pages, listed = len(world.crm.pulls), pages
            assert pages - listed <= 3  # as many as were stored, and one that was not
            assert kills < 60
            if not await world.state.scan(f"{PREFIX}resync"):
                break  # it was all done but for its record
            await anyio.sleep(400)  # leases of the dead run out
    assert kills > 5
    # Each page is listed once, and once more where the process died before it was stored.
    assert pages == 5 if after else 5 <= pages <= 9
    assert world.names()[0] == sorted(
        [f"n{n:04}" for n in range(45) if n not in {3, 22, 41}] + [f"m{n:04}" for n in (3, 22, 41)]
    )
    async with world.engine() as engine:
        history = await engine.syncs.history(binding(world.local), limit=100)
        unfinished = [each for each in history if each.finished_at is None]
        assert len(unfinished) >= kills // 2  # those that were killed can be seen as such
        assert sum(each.is_resumed for each in history) >= kills // 2
        assert await engine.syncs.approve_deletes(binding(world.local)) == 2
        await engine.sync(binding(world.local))
    local, external = world.names()
    assert local == external
    assert len(local) == 43


@pytest.mark.parametrize("after", [False, True])
async def test_a_first_listing_that_is_killed_goes_on_at_the_same_page_and_tells_how_far_it_is(after: bool) -> None:
    world = World()
    asked: list[str | None] = []

    class Noting(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            asked.append(cursor)
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    noting = Noting(world.clock)
    noting.inner, world.crm = world.crm.inner, noting
    for number in range(45):
        world.crm.inner.put(f"x{number:02}", {"name": f"n{number:04}"})
    kills = 0
    while True:
        try:
            async with world.engine(state=Mortal(world.state, 4, after=after)) as engine:
                small(engine)
                await engine.sync(binding(world.local))
            break
        except Killed:
            kills += 1
            assert kills < 60
            if world.names()[0] == world.names()[1]:
                break
            await anyio.sleep(400)
    assert kills > 1
    assert world.names()[0] == world.names()[1]
    pages = [event.pages for event in world.told(SyncProgressed) if event.phase == "pull"]
    assert pages[:2] == [1, 2]
    assert asked.count(None) == 1
    async with world.engine() as engine:
        small(engine)
        assert (await engine.sync(binding(world.local))).left == 0
    assert world.names()[0] == world.names()[1]


async def test_a_pass_that_lists_nothing_tells_of_no_progress() -> None:
    world = await alike(5)
    world.local.put("new", {"name": "new"})
    async with world.engine() as engine:
        await engine.sync(binding(world.local))
    assert world.told(SyncProgressed) == []


async def resyncs_of(engine: SyncEngine, world: World) -> list[SyncRun]:
    return [run for run in await engine.syncs.history(binding(world.local)) if run.kind is RunKind.RESYNC]


async def resync_by(engine: SyncEngine, world: World) -> None:
    async with engine:
        await small(engine).syncs.resync(binding(world.local))


async def test_a_run_goes_on_with_a_resync_that_was_killed() -> None:
    world = await alike(45)
    alter(world, 41)
    lose(world, 5)
    with pytest.raises(Killed):
        await resync_by(world.engine(state=Mortal(world.state, 4, after=True)), world)
    async with world.engine() as engine, anyio.create_task_group() as tasks:
        small(engine)
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(150)
        assert len(await resyncs_of(engine, world)) == 1  # its turn has not run out yet
        await anyio.sleep(150)
        run, killed = await resyncs_of(engine, world)
        assert (run.is_resumed, run.failed, run.is_stopped) == (True, False, False)
        assert (run.pages, run.missing, run.held, run.actions) == (5 + 5, 1, 1, {"pull": 1})
        assert killed.finished_at is None
        written = len(world.state.commits)
        await anyio.sleep(600)
        assert len(await resyncs_of(engine, world)) == 2
        assert {write.key for commit in world.state.commits[written:] for write in commit} == {f"{PREFIX}turn"}
        tasks.cancel_scope.cancel()
    assert "m0041" in world.names()[0]


async def test_a_run_leaves_a_resync_to_the_engine_that_makes_it_and_pulls_beside_its_own() -> None:
    world = await alike(60)

    class Slow(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            if cursor is None or int(cursor) < 60:
                await anyio.sleep(50)
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    slow = Slow(world.clock)
    slow.inner, world.crm = world.crm.inner, slow
    async with world.engine() as maker, world.engine() as runner, anyio.create_task_group() as tasks:
        for engine in (maker, runner):
            small(engine)
        tasks.start_soon(runner.syncs.run, binding(world.local))
        await anyio.sleep(1)
        run = await maker.syncs.resync(binding(world.local))
        assert (run.is_stopped, run.failed, run.is_resumed, run.pages) == (False, False, False, 12)
        with anyio.move_on_after(100):
            await maker.syncs.resync(binding(world.local))
        await anyio.sleep(70)
        world.local.change("l0001", name="changed")
        await anyio.sleep(120)  # one call at a time: a pull waits for a page
        assert "changed" in world.names()[1]  # while it lists
        assert (await resyncs_of(runner, world))[0].finished_at is None
        await anyio.sleep(600)
        last, *_ = await resyncs_of(runner, world)
        assert (last.is_resumed, last.failed, last.is_stopped) == (True, False, False)
        tasks.cancel_scope.cancel()


async def test_a_page_that_fails_is_tried_again_and_in_the_end_left_for_later() -> None:
    world = await alike(30)
    alter(world, 29)
    failures = 3

    class Flaky(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            nonlocal failures
            if cursor == "20" and failures:
                failures -= 1
                raise Unavailable("503", retry_after=20.0)
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    flaky = Flaky(world.clock)
    flaky.inner, world.crm = world.crm.inner, flaky
    async with world.engine() as engine:
        small(engine)
        began_at = world.clock.now()
        run = await engine.syncs.resync(binding(world.local))
        assert (run.errors, run.actions) == ([], {"pull": 1})
        assert world.clock.now() - began_at >= 60.0
        failures = 100
        alter(world, 28)
        world.crm.pulls.clear()
        run = await engine.syncs.resync(binding(world.local))
        assert (run.errors, run.retry_after, run.failed) == (["Unavailable"], 20.0, True)
        failures = 0
        run = await engine.syncs.resync(binding(world.local))
        assert (run.is_resumed, run.errors, run.actions) == (True, [], {"pull": 1})
        assert len(world.crm.pulls) == 3  # two pages before the failing one, and that one


async def test_a_cursor_that_expires_while_it_lists_begins_a_new_listing() -> None:
    world = await alike(30)
    lose(world, 3)
    expired = False

    class Expiring(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            nonlocal expired
            if cursor is not None and len(self.pulls) == 2 and not expired:
                expired = True
                lose(world, 4)  # listed already, and gone now
                raise CursorExpired("410")
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    crm = Expiring(world.clock)
    crm.inner, world.crm = world.crm.inner, crm
    async with world.engine() as engine:
        small(engine)
        run = await engine.syncs.resync(binding(world.local), sides=[Side.EXTERNAL])
        assert (run.missing, run.held) == (2, 0)  # a pass that read one side only decides about no deletes
        assert (await engine.sync(binding(world.local))).held == 2


async def test_passes_go_on_beside_it_and_records_that_come_meanwhile_are_not_missing() -> None:
    world = await alike(60)
    engine = world.engine(quotas={})

    class Slow(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            if limit == 10:
                await anyio.sleep(30)
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    slow = Slow(world.clock)
    slow.inner, world.crm = world.crm.inner, slow
    engine = world.engine()
    beside = world.engine()
    async with engine, beside, anyio.create_task_group() as tasks:
        small(engine)
        tasks.start_soon(engine.syncs.resync, binding(world.local))
        await anyio.sleep(45)
        world.local.put("new", {"name": "new"})
        world.local.change("l0001", name="changed")
        await beside.sync(binding(world.local))
        assert {"new", "changed"} <= set(world.names()[1])
    async with world.engine() as last:
        (run, *_) = [r for r in await last.syncs.history(binding(world.local)) if r.kind is RunKind.RESYNC]
        assert (run.missing, run.held) == (0, 0)
        assert (await last.sync(binding(world.local))).actions == {}
    assert world.names()[0] == world.names()[1]


async def test_two_engines_do_not_do_the_same_resync() -> None:
    world = await alike(60)
    async with world.engine() as one, world.engine() as two:
        for engine in (one, two):
            small(engine)
        raised = 0

        async def resync(engine: SyncEngine) -> None:
            nonlocal raised
            try:
                await engine.syncs.resync(binding(world.local))
            except StateConflict:
                raised += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resync, one)
            tasks.start_soon(resync, two)
        assert raised == 1
        assert world.names()[0] == world.names()[1]


async def test_leaving_the_engine_stops_it_between_two_pages() -> None:
    world = await alike(60)

    class Slow(Watched):
        @override
        async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
            await anyio.sleep(3)
            return await super().pull_changes(connection, resource, cursor, limit=limit)

    slow = Slow(world.clock)
    slow.inner, world.crm = world.crm.inner, slow
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        small(engine)
        tasks.start_soon(engine.syncs.resync, binding(world.local))
        await anyio.sleep(7)
    assert len(world.crm.pulls) == 3
    async with world.engine() as engine:
        small(engine)
        (run, *_) = await engine.syncs.history(binding(world.local))
        assert (run.is_stopped, run.pages, run.phase) == (True, 6 + 3, "pull")
        await engine.syncs.resync(binding(world.local))
    assert len(world.crm.pulls) == 6


async def test_memory_is_bounded_by_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen is kept in the store: of a listing only one page is held."""
    world = await alike(300)
    world.crm.inner.trial = evolve(world.crm.inner.trial, feed_has_fields=False)
    largest = 0
    commit = MemoryStateStore.commit

    async def measured(self: MemoryStateStore, writes: Sequence[Write]) -> Sequence[int]:
        nonlocal largest
        largest = max(largest, len(writes))
        return await commit(self, writes)

    monkeypatch.setattr(MemoryStateStore, "commit", measured)
    monkeypatch.setattr("ratesync.engine.sync.resync._AT_ONCE", 25)
    async with world.engine() as engine:
        small(engine)
        run = await engine.syncs.resync(binding(world.local))
    assert (run.pages, run.missing, run.errors) == (60, 0, [])
    assert largest <= 45


async def test_an_id_that_no_key_can_hold_is_told_and_stops_no_other_record() -> None:
    world = await alike(3)
    alter(world, 1)
    world.crm.inner.put("x" * 600, {"name": "odd"})
    async with world.engine() as engine:
        run = await engine.syncs.resync(binding(world.local))
        assert (run.errors, [trouble.record_id for trouble in run.troubles]) == ([], ["x" * 100])
        assert "m0001" in world.names()[0]
        assert (await engine.syncs.history(binding(world.local)))[0].troubles == run.troubles
