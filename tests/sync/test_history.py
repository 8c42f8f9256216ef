"""What is kept of passes: stored with their first write, a hundred of them, newest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from ratesync.engine.sync.history import Journal, list_runs
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.run_codec import decode_run, encode_run
from ratesync.errors import CorruptItem, NewerFormat, StateConflict, Unavailable
from ratesync.memory import MemoryStateStore
from ratesync.memory.records import MemoryRecords
from ratesync.model.difference import Side
from ratesync.model.run import RecordTrouble, RunKind, RunPhase, SyncRun
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.resolvers import manual
from tests.sync.desk import Still
from tests.sync.test_desk import binding
from tests.sync.test_run import CountedStore, World, anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

names = st.text(max_size=5)
counts = st.integers(0, 2**40)
instants = st.floats(0, 1e10)
texts = st.none() | names
counters = st.dictionaries(names, st.integers(1, 100), max_size=2).map(Counter)
runs = st.builds(
    SyncRun,
    names,
    instants,
    st.none() | instants,
    counters,
    *(counts, counts, names, st.lists(names, max_size=2), st.none() | st.floats(0.001, 1e6)),
    *(st.sampled_from(RunKind), st.sampled_from(RunPhase), counts, instants, st.booleans(), st.booleans()),
    *(counts, counts, counts, st.none() | counts),
    st.dictionaries(st.sampled_from(Side), st.tuples(texts, texts)),
    *(counts, counts, st.lists(st.builds(RecordTrouble, st.sampled_from(Side), names, names), max_size=2), counts),
    situations=counters,
    samples=st.dictionaries(names, st.lists(names, min_size=1, max_size=2), max_size=2),
    reasons=counters,
)


@settings(max_examples=30)  # each example has them all: a field that is not told shows in the first few
@given(runs)
def test_a_run_comes_back_as_it_was(run: SyncRun) -> None:
    data = encode_run(run)
    assert decode_run(data) == run
    assert encode_run(decode_run(data)) == data


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"v":1}', b'{"v":1,"id":"1","at":0,"kind":"x","phase":"pull"}', b'{"v":1,"id":"1","at":0}']
)
def test_damaged_bytes_are_told(data: bytes) -> None:
    with pytest.raises(CorruptItem):
        decode_run(data)


def test_bytes_of_a_newer_version_are_told() -> None:
    with pytest.raises(NewerFormat):
        decode_run(b'{"v":2}')


KEYS = Keys.of("crm", "default", "contacts")


def journal(store: MemoryStateStore, number: int, keep: int = 100) -> Journal:
    return Journal(store, KEYS, SyncRun(f"run{number}", float(number)), Still(), keep)


async def listed(store: MemoryStateStore, limit: int = 1000, before: int | None = None) -> list[int]:
    return [run.number for run in await list_runs(store, KEYS, limit=limit, before=before)]


async def test_the_newest_are_kept_and_listed_in_pages_and_old_ones_go_without_a_scan() -> None:
    store = CountedStore()
    for number in range(1, 31):
        await journal(store, number, keep=10).store()
    assert store.scans == 0
    assert max(map(len, store.commits)) == 3
    assert await listed(store) == list(range(30, 20, -1))
    assert await listed(store, 4) == [30, 29, 28, 27]
    assert await listed(store, 4, before=27) == [26, 25, 24, 23]
    for number in range(31, 41):
        await journal(store, number, keep=20).store()
    assert await listed(store) == list(range(40, 20, -1))
    await journal(store, 41, keep=1).store()  # less are to be kept from now on: they go by and by
    assert len(await listed(store)) == 1


async def test_a_run_is_stored_with_its_first_write_and_again_as_it_goes_on() -> None:
    store = CountedStore()
    one = journal(store, 1)
    assert await one.commit([Write(KEYS.cursor(Side.LOCAL), b"1")]) == [1]
    assert await listed(store) == []  # a cursor that moves by itself is nothing
    assert await one.commit([Write("a", b"1"), Write("b", b"1")]) == [1, 1]
    (run,) = await list_runs(store, KEYS, limit=10, before=None)
    assert (run.run_id, run.finished_at) == ("run1", None)  # had it been killed now, it would be found like this
    assert await one.commit([Write("a", b"2")]) == [2]
    assert isinstance(one.clock, Still)
    one.clock.at += 11.0
    one.run.left = 7
    assert await one.commit([Write("a", b"3")]) == [3]
    (run,) = await list_runs(store, KEYS, limit=10, before=None)
    assert (run.left, len(store.commits[-1]), len(store.commits[-2])) == (7, 2, 1)


async def test_runs_that_begin_at_once_each_get_a_number() -> None:
    store = MemoryStateStore()

    class Raced(MemoryStateStore):
        """Another engine stores a run in between."""

        @override
        async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
            if not await listed(store):
                await journal(store, 2).store()
            return await store.commit(writes)

    raced = Raced()
    raced.load, raced.scan = store.load, store.scan  # type: ignore[method-assign]
    await journal(raced, 1).commit([Write("a", b"1", 0)])
    assert await listed(store) == [2, 1]
    with pytest.raises(StateConflict):  # what the pass itself wrote is refused as ever
        await journal(store, 3).commit([Write("a", b"2", 0)])
    assert await listed(store) == [2, 1]


class Lossy(MemoryStateStore):
    """Does what it is asked, once without telling."""

    lost = False

    @override
    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        done = await super().commit(writes)
        if not self.lost:
            self.lost = True
            raise OSError("the answer was lost")
        return done


async def test_a_run_whose_first_write_was_not_answered_is_stored_once() -> None:
    store = Lossy()
    one = journal(store, 1)
    with pytest.raises(OSError, match="lost"):
        await one.commit([Write("a", b"1")])
    one.run.finished_at = 5.0
    await one.store()
    (run,) = await list_runs(store, KEYS, limit=10, before=None)
    assert (run.number, run.finished_at) == (1, 5.0)


async def test_a_long_run_that_was_forgotten_does_not_come_back() -> None:
    store = MemoryStateStore()
    long = journal(store, 1, keep=2)
    await long.store()
    for number in (2, 3, 4):
        await journal(store, number, keep=2).store()
    await long.store()
    assert isinstance(long.clock, Still)
    long.clock.at += 20.0
    assert len(await long.commit([Write("a", b"1")])) == 1
    assert await listed(store) == [4, 3]


async def test_what_a_pass_did_is_in_the_history_and_an_idle_one_is_counted_only() -> None:
    world = World()
    bound = binding(world.local, resolve=manual(), guard=DeletePolicy(max_deletes=1))
    for number in range(4):
        world.local.put(f"l{number}", {"name": f"n{number}"})
    async with world.engine() as engine:
        await engine.sync(bound)
        for _ in range(5):
            await engine.sync(bound)  # the first of them hears of its own writes
        (first,) = await engine.syncs.history(bound)
        assert (first.number, first.kind, first.phase) == (1, RunKind.CHANGES, RunPhase.DONE)
        assert first.actions == {"create": 4}
        assert first.cursors == {Side.LOCAL: (None, f"{world.local.origin}.4"), Side.EXTERNAL: (None, "0")}
        assert (first.pages, first.records, first.idle_before) == (2, 4, 0)
        assert first.finished_at is not None
        external = {str(record.fields["name"]): record_id for record_id, record in world.crm.inner.records.items()}
        world.local.change("l0", name="here")
        world.crm.inner.put(external["n0"], {"name": "there"})
        world.local.remove("l2")
        world.local.remove("l3")
        await engine.sync(bound)
        (second, _) = await engine.syncs.history(bound)
        assert (second.conflicts, second.held, second.idle_before) == (1, 2, 5)
        assert "max_deletes=1" in second.hold_reason
        assert second.cursors[Side.LOCAL] == (f"{world.local.origin}.4", f"{world.local.origin}.7")
        for _ in range(3):
            await engine.sync(bound)
        assert len(await engine.syncs.history(bound)) == 2  # the same deletes are held still: no news
        assert await engine.syncs.history(bound, limit=1) == [second]
        assert await engine.syncs.history(bound, before=second.number) == [first]


async def test_an_idle_pass_commits_nothing_with_a_history_either() -> None:
    world = World()
    world.local.put("l1", {"name": "Ada"})
    async with world.engine() as engine:
        for _ in range(3):
            await engine.sync(binding(world.local))
        written = len(world.state.commits)
        for _ in range(10):
            await engine.sync(binding(world.local))
        assert len(world.state.commits) == written


async def test_deletes_that_a_listing_held_are_not_carried_out_by_a_pass_that_could_not_list() -> None:
    world = World()
    world.crm.inner.trial = evolve(world.crm.inner.trial, tombstones=False)
    for number in range(3):
        world.local.put(f"l{number}", {"name": f"n{number}"})
    async with world.engine() as engine:
        await engine.sync(binding(world.local))
        await engine.sync(binding(world.local))
        await anyio.sleep(1)
        world.crm.inner.records.clear()  # the token lost its rights, and all looks empty
        run = await engine.sync(binding(world.local))
        assert (run.held, len(world.local.records)) == (3, 3)
        world.crm.failure = Unavailable("503")
        run = await engine.sync(binding(world.local))
        assert (run.errors, len(world.local.records)) == (["external: Unavailable"], 3)
        world.crm.failure = None
        assert await engine.syncs.approve_deletes(binding(world.local)) == 3
        await engine.sync(binding(world.local))
        assert len(world.local.records) == 0


async def test_a_record_that_is_refused_is_named_with_the_reason_and_no_value() -> None:
    world = World()
    world.local.put("l1", {"name": "a private value"})

    def refuse(*_: object) -> str:
        raise ValueError("a private value is wrong")

    bound = binding(MemoryRecords(), resolve=refuse)
    bound = evolve(bound, local=world.local)
    async with world.engine() as engine:
        await engine.sync(bound)
        (external_id,) = world.crm.inner.records
        world.local.change("l1", name="a private value 2")
        world.crm.inner.put(external_id, {"name": "a private value 3"})
        run = await engine.sync(bound)
        (stored, _) = await engine.syncs.history(bound)
        assert stored == run
        assert [(t.side, t.record_id, t.reason) for t in run.troubles] == [
            (Side.EXTERNAL, external_id, "ValueError while deciding")
        ]
        (raw, *_) = await world.state.scan(KEYS.runs)
        assert b"private" not in raw.value
