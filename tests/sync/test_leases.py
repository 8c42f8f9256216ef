"""Leases outlast any wait for a permit, or the call is not made: a step is carried out by one engine at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from attrs import evolve
from typing_extensions import override

from ratesync import Rate, Settings
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.leases import Leases
from ratesync.engine.sync.link_codec import encode_link
from ratesync.memory import MemoryStateStore
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import Batch, Capabilities, CreateIdentity
from ratesync.model.difference import Side
from ratesync.model.intent import Deleting, Intent
from ratesync.model.link import RecordLink
from ratesync.model.operation import Kind
from ratesync.model.outcome import Outcome
from ratesync.model.run import SyncRun
from ratesync.model.stored import Write
from ratesync.model.sync_settings import SyncSettings
from tests.sync.desk import PLAIN, Desk
from tests.sync.test_desk import binding
from tests.sync.test_run import Watched, World, anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

LEASE = 300.0
RARELY = {"crm": [Rate(1, per=1000)]}


class OneByOne(Watched):
    """Takes one call at a time."""

    @property
    @override
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, concurrency=1)


def looked_up(lookup_after: float = 0.0) -> World:
    """A provider that takes any create for a new one."""
    world = World()
    world.crm = OneByOne(world.clock)
    trial = evolve(world.crm.inner.trial, identity=CreateIdentity.LOOKUP, lookup_after=lookup_after)
    world.crm.inner.trial = trial
    return world


async def test_who_waits_for_a_permit_longer_than_its_lease_makes_no_call_once_another_engine_took_over() -> None:
    world = looked_up()
    world.local.put("l1", {"name": "Ada"})
    runs: list[SyncRun] = []
    async with world.engine(quotas=RARELY) as slow, world.engine() as quick, anyio.create_task_group() as tasks:

        async def sync() -> None:
            runs.append(await slow.syncs.sync(binding(world.local)))

        tasks.start_soon(sync)  # its pull takes the permit, and the create waits for the next one
        await anyio.sleep(LEASE - 10)
        assert (await quick.syncs.sync(binding(world.local))).reasons == {"another engine works on it": 1}
        await anyio.sleep(20)
        assert (await quick.syncs.sync(binding(world.local))).actions["create"] == 1
        calls = world.crm.calls
        await anyio.sleep(1000)
        assert [run.actions for run in runs] == [{}]
        assert world.crm.calls == calls
        began_at = world.clock.now()
        await slow.syncs.sync(binding(world.local))
        assert world.clock.now() - began_at < 1.0  # the permit was given back
    assert len(world.crm.inner.records) == 1


async def test_who_waits_longer_than_its_lease_renews_it_with_the_permit() -> None:
    world = looked_up()
    world.local.put("l1", {"name": "Ada"})
    async with world.engine(quotas=RARELY) as slow, world.engine() as quick, anyio.create_task_group() as tasks:
        world.crm.slow = 30.0
        tasks.start_soon(slow.syncs.sync, binding(world.local))
        await anyio.sleep(1015)  # the create is under way
        assert (await quick.syncs.sync(binding(world.local))).reasons == {"another engine works on it": 1}
    assert world.names()[1] == ["Ada"]


class Dying(Watched):
    """The engine that made a record does not live to hear of it."""

    scope: anyio.CancelScope | None = None

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        answers = await super().execute(batch)
        if self.scope is not None and batch.kind is Kind.CREATE:
            self.scope.cancel()
            await anyio.sleep(1)
        return answers


async def test_a_search_that_lags_is_waited_for_from_the_end_of_a_lease_that_was_renewed() -> None:
    world = looked_up(lookup_after=400.0)
    world.local.put("l1", {"name": "Ada"})
    crm = Dying(world.clock)
    crm.inner, world.crm = world.crm.inner, crm
    async with world.engine(quotas=RARELY) as slow, world.engine() as quick:
        with anyio.CancelScope() as crm.scope:
            await slow.syncs.sync(binding(world.local))
        assert len(world.crm.inner.records) == 1
        crm.scope = None
        for _ in range(10):
            await quick.syncs.sync(binding(world.local))
            await anyio.sleep(100)
    assert world.names() == (["Ada"], ["Ada"])


async def test_leases_of_a_chunk_are_renewed_together_as_long_as_its_calls_go_on() -> None:
    world = looked_up()
    for number in range(10):
        world.local.put(f"l{number}", {"name": f"n{number}"})
    quotas = {"crm": [Rate(1, per=100)]}
    async with world.engine(quotas=quotas) as slow, world.engine() as quick, anyio.create_task_group() as tasks:
        tasks.start_soon(slow.syncs.sync, binding(world.local))
        for _ in range(9):
            await anyio.sleep(100)
            assert (await quick.syncs.sync(binding(world.local))).actions == {}
    assert len(world.crm.inner.records) == 10
    parts = [Counter(write.key.split("/")[4] for write in commit) for commit in world.state.commits]
    renewals = [part for part in parts if part["link"] == 10 and part.keys() <= {"link", "run"}]
    assert 4 <= len(renewals) <= 6


async def test_a_state_store_that_is_away_when_leases_are_renewed_loses_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = looked_up()
    world.crm.inner.trial = evolve(world.crm.inner.trial, identity=CreateIdentity.NONE)
    for number in range(4):
        world.local.put(f"l{number}", {"name": f"n{number}"})
    commit, renewals = MemoryStateStore.commit, 0

    async def failing(self: MemoryStateStore, writes: Sequence[Write]) -> Sequence[int]:
        nonlocal renewals
        is_renewal = len(writes) > 1 and {write.key.split("/")[4] for write in writes} <= {"link", "run"}
        renewals += is_renewal
        if is_renewal and renewals == 1:
            raise OSError("away")
        return await commit(self, writes)

    monkeypatch.setattr(MemoryStateStore, "commit", failing)
    async with world.engine(quotas={"crm": [Rate(1, per=100)]}) as engine:
        run = await engine.syncs.sync(binding(world.local))
        assert (run.left, run.actions["create"]) == (0, 4)
        assert renewals > 1
        assert [doubt async for doubt in engine.syncs.doubts(binding(world.local))] == []
    assert len(world.crm.inner.records) == 4


async def test_what_was_answered_when_a_pass_is_broken_off_is_stored() -> None:
    world = looked_up()
    world.crm.inner.trial = evolve(world.crm.inner.trial, identity=CreateIdentity.NONE)
    for number in range(5):
        world.local.put(f"l{number}", {"name": f"n{number}"})
    world.crm.slow = 10.0
    async with anyio.create_task_group() as tasks, world.engine(settings=Settings(grace=20.0)) as engine:
        tasks.start_soon(engine.syncs.sync, binding(world.local))
        await anyio.sleep(15)
    assert len(world.crm.inner.records) == 3  # and the fourth was under way
    world.crm.slow = 0.0
    async with world.engine() as engine:
        await anyio.sleep(1000)
        run = await engine.syncs.sync(binding(world.local))
        assert run.actions["create"] == 1
        (doubt,) = [doubt async for doubt in engine.syncs.doubts(binding(world.local))]
        assert await engine.syncs.settle(binding(world.local), doubt, record_id=None)
        await engine.syncs.sync(binding(world.local))
    assert world.names()[1] == [f"n{number}" for number in range(5)]


async def test_what_was_answered_before_a_store_of_the_hosts_raises_is_stored() -> None:
    world = World()
    for number in range(3):
        world.crm.inner.put(f"x{number}", {"name": f"n{number}"})

    class Raising(MemoryRecords):
        made = 0

        @override
        async def apply(self, *args: Any, **options: Any) -> Outcome:
            self.made += 1
            if self.made == 3:
                raise OSError("away")
            return await super().apply(*args, **options)

    local = Raising()
    async with world.engine() as engine:
        with pytest.raises(OSError, match="away"):
            await engine.syncs.sync(binding(local))
        links = await world.state.scan("sync/crm/default/contacts/link/")
        assert sum(b'"i":' in stored.value for stored in links) == 1  # the one that raised
        run = await engine.syncs.sync(binding(local))
        assert (run.actions["create"], len(local.records)) == (1, 3)


async def asked_for(count: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a pass that makes so many records on both sides, one by one, asks the state store."""
    desk, asked = Desk(evolve(PLAIN, batch_max=1)), Counter[str]()
    for number in range(count):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
        desk.crm.put(f"x{number}", {"name": f"m{number}"})
    with monkeypatch.context() as patch:
        for name in ("load", "scan", "commit"):
            inner = getattr(MemoryStateStore, name)

            async def counting(self: Any, *args: Any, _inner: Any = inner, _name: str = name, **options: Any) -> Any:
                asked[_name] += 1
                return await _inner(self, *args, **options)

            patch.setattr(MemoryStateStore, name, counting)
        await desk.sync()
    assert len(desk.crm.records) == 2 * count
    return asked


async def test_as_long_as_leases_last_no_call_asks_the_state_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await asked_for(20, monkeypatch) == await asked_for(1, monkeypatch)


async def test_calls_that_ask_at_the_same_time_are_all_let_out() -> None:
    """While one renews the leases of the chunk, the others wait for what comes of it."""
    desk, names = Desk(), ("a", "b", "c")
    books, clock = desk.reconciler.books, desk.clock
    step = Deleting(Side.LOCAL, None, {})
    links = [RecordLink(name, intent=Intent(name, "engine", clock.now() + 1, clock.now(), step)) for name in names]
    revisions = await desk.state.commit([Write(books.keys.link(each.link_id), encode_link(each), 0) for each in links])
    cases = [Case([], link, revision) for link, revision in zip(links, revisions, strict=True)]
    leases = Leases(books, SyncSettings(), clock, "engine", cases)
    kept: set[str] = set()

    async def ask(name: str) -> None:
        kept.update(await leases.keep([name]))

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    assert kept == set(names)
