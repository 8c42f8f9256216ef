"""A sync that runs on and on: when it pulls, what wakes it, what puts it off, and how it ends. In virtual time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

import anyio
import pytest
from typing_extensions import override

from ratesync import Concurrency, Rate, Settings, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.errors import ConfigurationError, Throttled, Unavailable, UnknownProvider
from ratesync.memory import MemoryBackend, MemoryQueue, MemoryStateStore
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import Batch
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.difference import Side
from ratesync.model.event import Event, SyncFinished, SyncPutOff
from ratesync.model.outcome import Outcome
from ratesync.model.stored import Stored, Write
from ratesync.rules.resolvers import prefer
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options
from tests.sync.adapter import LANE, Crm
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_desk import TRIAL, binding

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    backend: Literal["asyncio", "trio"] = request.param
    return virtual_backend_options(backend)


class Watched(Crm):
    """Notes when it is pulled, and fails as told."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(FakeCrm(TRIAL, clock.now, random.Random(0)))
        self.clock = clock
        self.pulls: list[float] = []
        self.failure: Exception | None = None
        self.slow = 0.0
        self.under_way = self.most_at_once = 0

    @override
    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        self.pulls.append(self.clock.now())
        if self.failure is not None:
            raise self.failure
        return await super().pull_changes(connection, resource, cursor, limit=limit)

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await anyio.sleep(self.slow)
        self.under_way -= 1
        return await super().execute(batch)

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        found: RecordPage = await self.inner.find(LANE, resource, path, values)
        return found


class CountedStore(MemoryStateStore):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = self.scans = 0
        self.commits: list[Sequence[Write]] = []

    @override
    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        self.loads += 1
        return await super().load(keys)

    @override
    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        self.scans += 1
        return await super().scan(prefix, after=after, limit=limit)

    @override
    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        self.commits.append(writes)
        return await super().commit(writes)


class World:
    """Two sides, and what engines share."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.crm = Watched(self.clock)
        self.local = MemoryRecords()
        self.state = CountedStore()
        self.events: list[Event] = []

    def engine(self, **options: Any) -> SyncEngine:
        backend = MemoryBackend(clock=self.clock, cold_start=False)
        given: dict[str, Any] = {
            "queue": backend.queue,
            "limiter": backend.limiter,
            "state": self.state,
            "quotas": {"crm": [Rate(50, per=1)]},
            "observers": [self.events.append],
            "random": random.Random(1),
        }
        return SyncEngine(providers=[self.crm], clock=self.clock, **(given | options))

    def names(self) -> tuple[list[Any], list[Any]]:
        return (
            sorted(record.fields["name"] for record in self.local.records.values()),
            sorted(record.fields["name"] for record in self.crm.inner.records.values()),
        )

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def test_it_pulls_now_and_then_and_what_is_idle_writes_nothing_but_its_turn() -> None:
    world = World()
    world.local.put("l1", {"name": "Ada"})
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(5)
        assert world.names() == (["Ada"], ["Ada"])
        await anyio.sleep(100)  # its own write comes back once
        written, began_at = len(world.state.commits), len(world.crm.pulls)
        await anyio.sleep(1200)
        keys = {write.key for commit in world.state.commits[written:] for write in commit}
        assert keys == {"sync/crm/default/contacts/turn"}
        assert len(world.state.commits) - written <= 20
        gaps = [b - a for a, b in zip(world.crm.pulls[began_at:], world.crm.pulls[began_at + 1 :], strict=False)]
        assert 18 <= len(gaps) <= 22
        assert all(54 <= gap <= 67 for gap in gaps)
        assert len(set(gaps)) > 10
        world.local.change("l1", name="Ada Lovelace")
        await anyio.sleep(67)
        assert world.names() == (["Ada Lovelace"], ["Ada Lovelace"])


async def test_a_hint_of_the_host_wakes_it_at_once_and_nothing_is_pulled() -> None:
    world = World()
    world.local.put("l1", {"name": "Ada"})
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(10)
        pulls = len(world.crm.pulls)
        world.local.change("l1", name="Ada Lovelace")
        await engine.syncs.hint(binding(world.local), Side.LOCAL, ["l1"])
        await anyio.sleep(0.5)
        assert world.names()[1] == ["Ada Lovelace"]
        for number in range(50):  # one after the other: they go together
            world.local.change("l1", name=f"Ada {number}")
            await engine.syncs.hint(binding(world.local), Side.LOCAL, ["l1"])
            await anyio.sleep(0.05)
        await anyio.sleep(1.5)
        assert world.names()[1] == ["Ada 49"]
        assert len(world.crm.pulls) == pulls
        kinds = [event.kind for event in world.told(SyncFinished)]
        assert kinds[0] == "changes"
        assert 3 <= kinds.count("marks") <= 6


async def test_a_hint_of_another_process_is_found_at_the_next_look() -> None:
    world = World()
    world.local.put("l1", {"name": "Ada"})
    web = world.engine(role="submit")
    async with anyio.create_task_group() as tasks, web, world.engine() as worker:
        tasks.start_soon(lambda: worker.syncs.run(binding(world.local), every=600, look=4))
        await anyio.sleep(10)
        pulls = len(world.crm.pulls)
        world.local.change("l1", name="Ada Lovelace")
        await web.syncs.hint(binding(world.local), Side.LOCAL, ["l1"])
        await anyio.sleep(4.1)
        assert world.names()[1] == ["Ada Lovelace"]
        assert len(world.crm.pulls) == pulls
        loads, scans = world.state.loads, world.state.scans
        await anyio.sleep(400)
        assert world.state.scans == scans
        assert 100 <= world.state.loads - loads <= 105  # one small look every 4 s, and its turn now and then


async def test_a_failing_pass_is_put_off_longer_and_longer_and_no_other_binding_is() -> None:
    world = World()
    other = Watched(world.clock)
    other.name = "other"
    world.crm.failure = Unavailable("503")
    settings = Settings()
    engine = SyncEngine(
        providers=[world.crm, other], backend=MemoryBackend(clock=world.clock, cold_start=False), clock=world.clock,
        random=random.Random(1), observers=[world.events.append], settings=settings,
    )  # fmt: skip
    theirs = Binding(local=MemoryRecords(), provider="other", resource="contacts", resolve=prefer(Side.LOCAL))
    async with anyio.create_task_group() as tasks, engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        tasks.start_soon(engine.syncs.run, theirs)
        await anyio.sleep(3600)
        assert 55 <= len(other.pulls) <= 67
        assert len(world.crm.pulls) <= 30  # the circuit is open most of the time
        put_off = world.told(SyncPutOff)
        assert {event.reason for event in put_off} == {"external: Unavailable"}
        delays = [event.until - event.at for event in put_off]
        assert delays[0] <= 1.0
        assert 150 <= max(delays) <= 300
        (run, *_) = runs = await engine.syncs.history(binding(world.local))
        assert run.errors == ["external: Unavailable"]
        assert len(runs) == 1  # the same failure again and again is stored once
        world.crm.failure = None
        world.local.put("l1", {"name": "Ada"})
        await anyio.sleep(330)
        assert world.names() == (["Ada"], ["Ada"])


async def test_a_side_that_asks_to_wait_is_left_alone_for_so_long() -> None:
    world = World()
    world.crm.failure = Throttled("429", retry_after=120.0)
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(119)
        assert len(world.crm.pulls) == 1
        await anyio.sleep(10)
        assert len(world.crm.pulls) == 2
        put_off = world.told(SyncPutOff)[0]
        assert put_off.until - put_off.at == pytest.approx(120.0)


class Broken(MemoryRecords):
    """A store of the host's with a bug."""

    @override
    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        raise RuntimeError("the database is away")


async def test_what_the_host_or_the_state_store_raises_is_told_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, binding(Broken()))
        await anyio.sleep(20)
        assert {event.reason for event in world.told(SyncPutOff)} == {"RuntimeError"}
        assert [run.errors for run in await engine.syncs.history(binding(world.local))] == [["RuntimeError"]]
        world.local.put("l1", {"name": "Ada"})
        tasks.start_soon(engine.syncs.run, binding(world.local))

        async def away(keys: Sequence[str]) -> Sequence[Stored | None]:
            raise OSError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(world.state, "load", away)
            await anyio.sleep(20)
            assert "OSError" in {event.reason for event in world.told(SyncPutOff)}
        await anyio.sleep(120)
        assert world.names()[1] == ["Ada"]


async def test_a_paused_connection_is_left_alone_and_gone_on_with() -> None:
    world = World()
    world.crm.slow = 1.0
    for number in range(300):
        world.local.put(f"l{number}", {"name": f"n{number:03}"})
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(6)
        assert 10 <= len(world.crm.inner.records) < 100
        await engine.pause("crm")
        await anyio.sleep(250)  # the chunk under way ends
        done, calls, loads = len(world.crm.inner.records), world.crm.calls, world.state.loads
        await engine.syncs.hint(binding(world.local), Side.LOCAL, ["l1"])
        await anyio.sleep(600)
        assert (len(world.crm.inner.records), world.crm.calls, world.state.loads) == (done, calls, loads)
        assert [event.reason for event in world.told(SyncPutOff)] == ["paused"]
        await engine.resume("crm")
        await anyio.sleep(1500)
        assert len(world.crm.inner.records) == 300


async def test_marks_that_were_left_are_not_tried_anew_with_each_hint() -> None:
    world = World()
    world.local.put("l1", {"email": "ada@example.org", "name": "Ada"})
    for number in (1, 2):
        world.crm.inner.put(f"x{number}", {"email": "ada@example.org", "name": "Ada"})
    world.local.put("l2", {"name": "Bob"})
    matched = binding(world.local, match_keys={"email": "email"})
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(engine.syncs.run, matched)
        await anyio.sleep(10)
        (run,) = await engine.syncs.history(matched)
        assert run.left == 3
        assert {trouble.reason for trouble in run.troubles} == {"first match: ambiguous"}
        calls = world.crm.calls
        await engine.syncs.hint(matched, Side.LOCAL, ["l2"])
        await anyio.sleep(1)
        assert world.crm.calls == calls + 1  # the read of the one record in question
        await anyio.sleep(70)
        assert world.crm.calls > calls + 2  # a pull tries all of them


async def test_leaving_the_engine_ends_a_pass_between_two_chunks_and_the_run_returns() -> None:
    world = World()
    world.crm.slow = 0.05
    for number in range(1000):
        world.local.put(f"l{number}", {"name": f"n{number:03}"})
    ended: list[float] = []

    async def run(engine: SyncEngine) -> None:
        await engine.syncs.run(binding(world.local))
        ended.append(world.clock.now())

    async with anyio.create_task_group() as tasks:
        async with world.engine() as engine:
            tasks.start_soon(run, engine)
            await anyio.sleep(12)
            left_at = world.clock.now()
        assert len(ended) == 1
        assert 0 < ended[0] - left_at < Settings().grace
    done = len(world.crm.inner.records)
    assert 0 < done < 1000
    assert done % 100 == 0
    links = await world.state.scan("sync/crm/default/contacts/link/", limit=2000)
    assert not any(b'"i":' in stored.value for stored in links)  # nothing is half done
    assert await world.state.scan("sync/crm/default/contacts/turn") == []
    async with world.engine() as engine:
        (run_, *_) = await engine.syncs.history(binding(world.local))
        assert (run_.is_stopped, run_.finished_at is not None, run_.phase) == (True, True, "reconcile")
        assert run_.actions["create"] == done


async def test_a_pass_that_does_not_end_in_time_is_broken_off_and_another_engine_goes_on() -> None:
    world = World()
    world.crm.slow = 30.0
    world.local.put("l1", {"name": "Ada"})
    async with anyio.create_task_group() as tasks:
        async with world.engine(settings=Settings(grace=2.0)) as engine:
            tasks.start_soon(engine.syncs.run, binding(world.local))
            await anyio.sleep(5)
            began_at = world.clock.now()
        assert 2.0 <= world.clock.now() - began_at < 5.0
    world.crm.slow = 0.0
    async with world.engine() as engine:
        (run,) = await engine.syncs.history(binding(world.local))
        assert (run.is_stopped, run.errors) == (True, [])
        await anyio.sleep(400)  # the lease of what was under way runs out
        await engine.sync(binding(world.local))
    assert world.names() == (["Ada"], ["Ada"])


async def test_the_task_may_be_cancelled_by_the_host_and_then_gives_its_turn_back() -> None:
    world = World()
    async with world.engine() as engine:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.syncs.run, binding(world.local))
            await anyio.sleep(5)
            assert await world.state.scan("sync/crm/default/contacts/turn") != []
            tasks.cancel_scope.cancel()
        assert await world.state.scan("sync/crm/default/contacts/turn") == []


async def test_of_two_engines_one_pulls_and_the_other_takes_over_when_it_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    dead, heir = world.engine(), world.engine(random=random.Random(2))
    async with anyio.create_task_group() as tasks, dead, heir:
        with monkeypatch.context() as patch:
            async with anyio.create_task_group() as mortal:
                mortal.start_soon(dead.syncs.run, binding(world.local))
                await anyio.sleep(1)
                tasks.start_soon(heir.syncs.run, binding(world.local))
                await anyio.sleep(1799)
                assert 27 <= len(world.crm.pulls) <= 34  # as many as one engine makes
                assert world.state.loads < 700  # and one looks for hints, every 5 s
                patch.setattr(world.state, "commit", _never)
                mortal.cancel_scope.cancel()
        assert await world.state.scan("sync/crm/default/contacts/turn") != []  # it died and gave nothing back
        pulls = len(world.crm.pulls)
        await anyio.sleep(181)
        assert len(world.crm.pulls) > pulls
        world.local.put("l1", {"name": "Ada"})
        await anyio.sleep(67)
        assert world.names()[1] == ["Ada"]


async def test_where_pulls_are_rare_an_heir_finds_hints_of_others_within_three_minutes() -> None:
    world = World()
    turns: list[Stored] = []
    dead, heir, web = world.engine(), world.engine(random=random.Random(2)), world.engine(role="submit")
    async with anyio.create_task_group() as tasks, web, heir:
        async with dead, anyio.create_task_group() as mortal:
            mortal.start_soon(lambda: dead.syncs.run(binding(world.local), every=86_400))
            await anyio.sleep(1)
            tasks.start_soon(lambda: heir.syncs.run(binding(world.local), every=86_400))
            await anyio.sleep(3600)
            assert len(world.crm.pulls) == 1
            turns += await world.state.scan("sync/crm/default/contacts/turn")
            mortal.cancel_scope.cancel()
        await world.state.commit([Write(turn.key, turn.value) for turn in turns])  # as if it had been killed
        record = world.crm.inner.put("x1", {"name": "Ada"})
        await web.syncs.hint(binding(world.local), Side.EXTERNAL, [record.record_id])
        await anyio.sleep(181)
        assert world.names()[0] == ["Ada"]


async def _never(*_: object) -> Any:
    raise OSError("dead")


async def test_two_engines_that_pull_at_once_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn is a saving. Without it every commit is still refused whose revision is not the latest."""

    async def always(_self: object) -> None:
        return None

    monkeypatch.setattr("ratesync.engine.sync.turn.Turn.take", always)
    world = World()
    world.crm.slow = 0.01
    for number in range(120):
        world.local.put(f"l{number}", {"name": f"n{number:03}"})
    async with (
        anyio.create_task_group() as tasks,
        world.engine() as one,
        world.engine(random=random.Random(2)) as two,
    ):
        tasks.start_soon(lambda: one.syncs.run(binding(world.local), every=5))
        tasks.start_soon(lambda: two.syncs.run(binding(world.local), every=5))
        await anyio.sleep(60)
        for number in range(0, 120, 3):
            world.local.change(f"l{number}", name=f"m{number:03}")
        await anyio.sleep(60)
    local, external = world.names()
    assert local == external
    assert len(external) == 120
    assert len(await world.state.scan("sync/crm/default/contacts/link/", limit=1000)) == 120


async def test_a_quota_that_is_used_up_is_waited_for_in_line() -> None:
    world = World()
    for number in range(20):
        world.local.put(f"l{number}", {"name": f"n{number:03}"})
    async with anyio.create_task_group() as tasks, world.engine(quotas={"crm": [Rate(2, per=100)]}) as engine:
        tasks.start_soon(engine.syncs.run, binding(world.local))
        await anyio.sleep(300)
        assert 5 <= world.crm.calls <= 8
        loads = world.state.loads
        await anyio.sleep(80)
        assert world.state.loads - loads <= 10
        await anyio.sleep(1500)
        assert len(world.crm.inner.records) == 20
    assert world.told(SyncPutOff) == []


async def test_passes_of_one_engine_over_one_binding_take_turns() -> None:
    """They own each other's intents, so none may take up what another is in the middle of."""
    world = World()
    world.crm.slow = 0.5
    world.local.put("l", {"name": "Ada"})
    async with world.engine() as engine, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(engine.sync, binding(world.local))
    assert world.crm.most_at_once == 1  # of several records, one pass writes several at once
    assert len(world.crm.inner.records) == 1


async def test_what_cannot_run_is_told_at_once() -> None:
    world = World()
    queue, limiter = MemoryQueue(clock=world.clock), MemoryBackend(clock=world.clock).limiter
    async with SyncEngine(providers=[world.crm], queue=queue, limiter=limiter, clock=world.clock) as engine:
        with pytest.raises(ConfigurationError, match="state store"):
            await engine.syncs.run(binding(world.local))
    async with world.engine(quotas={"crm": [Concurrency(1)]}) as engine:
        with pytest.raises(ConfigurationError, match="above 0"):
            await engine.syncs.run(binding(world.local), every=0)
        with pytest.raises(UnknownProvider):
            await engine.syncs.run(Binding(local=world.local, provider="nobody", resource="contacts"))
