"""How many calls operations leave as, and how long they wait for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import anyio
import pytest
from attrs import define, evolve, field
from typing_extensions import override

from ratesync import Batch, Capabilities, Concurrency, Kind, Operation, Outcome, Rate, Settings, SyncEngine
from ratesync.memory import MemoryBackend, MemoryLimiter, MemoryQueue
from ratesync.model.work import Claim, ClaimRequest, Settlement
from ratesync.sqlite import SqliteBackend
from ratesync.testing import simulation
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.scenario import Scenario
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

MOST = 100
LINGER = 0.05
RESOURCES = ("contacts", "deals", "notes")


@define
class Timing(FakeProvider):
    """Notes how large calls are, and how long operations waited for theirs."""

    sizes: list[int] = field(factory=list[int], init=False)
    waits: list[float] = field(factory=list[float], init=False)
    submitted: dict[str, float] = field(factory=dict[str, float], init=False)

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.sizes.append(len(batch.operations))
        now = self.clock.now()
        self.waits += [now - self.submitted[operation.id or ""] for operation in batch.operations]
        return await super().execute(batch)


def upserts(count: int, resources: Sequence[str] = ("contacts",), lanes: int = 1) -> list[Operation]:
    source = random.Random(7)
    return [
        Operation.upsert(
            "fake",
            source.choice(resources),
            f"r{number}",
            {"n": number},
            id=f"o{number}",
            connection=f"c{number % lanes}",
        )
        for number in range(count)
    ]


def timing(clock: VirtualClock, concurrency: int | None = 10, seconds: float = 0.05) -> Timing:
    able = Capabilities(batch_max=MOST, concurrency=concurrency)
    return Timing(clock=clock, capabilities=able, latency=(seconds, seconds))


async def submit(engine: SyncEngine, provider: Timing, operations: Sequence[Operation], per_second: float = 0) -> None:
    for start in range(0, len(operations), 1 if per_second else 500):
        some = operations[start : start + (1 if per_second else 500)]
        provider.submitted |= {operation.id or "": provider.clock.now() for operation in some}
        await engine.submit_many(some)
        if per_second:
            await anyio.sleep(1 / per_second)
    assert await engine.drain(timeout=600)


@pytest.mark.parametrize(("resources", "calls"), [(RESOURCES[:1], 45), (RESOURCES, 125)], ids=["alike", "mixed"])
async def test_what_trickles_in_shares_calls_within_the_linger(
    make_engine: EngineFactory, clock: VirtualClock, resources: Sequence[str], calls: int
) -> None:
    """50 operations come in while one lingers, of each resource."""
    provider = timing(clock)
    async with make_engine(providers=[provider], settings=Settings(linger=LINGER)) as engine:
        await submit(engine, provider, upserts(2_000, resources), per_second=1_000)
    assert len(provider.records) == 2_000
    assert len(provider.sizes) <= calls
    assert max(provider.waits) <= LINGER + 0.002


async def test_a_lone_operation_waits_for_the_linger_and_no_longer(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider], settings=Settings(linger=LINGER)) as engine:
        await submit(engine, provider, upserts(5), per_second=2)
    assert provider.sizes == [1] * 5
    assert all(LINGER - 0.002 <= wait <= LINGER for wait in provider.waits)


async def test_without_a_linger_nothing_waits(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider]) as engine:
        await submit(engine, provider, upserts(5), per_second=2)
    assert max(provider.waits) <= 0.001


async def test_a_burst_that_fills_calls_does_not_linger(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider], settings=Settings(linger=10)) as engine:
        await submit(engine, provider, upserts(5 * MOST))
    assert provider.sizes == [MOST] * 5
    assert max(provider.waits) <= 0.002


@pytest.mark.parametrize("concurrency", [None, 10, 1])
@pytest.mark.parametrize("seconds", [0.0001, 2.0])
async def test_a_backlog_leaves_in_full_calls_though_it_is_mixed(
    make_engine: EngineFactory, clock: VirtualClock, concurrency: int | None, seconds: float
) -> None:
    """The last call of each resource is not full, and the others are but for a few."""
    provider = timing(clock, concurrency, seconds)
    async with make_engine(providers=[provider]) as engine:
        await submit(engine, provider, upserts(2_000, RESOURCES))
    assert len(provider.records) == 2_000
    assert len(provider.sizes) <= 25
    assert provider.most_at_once <= (concurrency or 2_000)


async def test_ten_thousand_leave_in_hardly_more_than_a_hundred_calls(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider]) as engine:
        await submit(engine, provider, upserts(10_000, RESOURCES))
    assert len(provider.records) == 10_000
    assert len(provider.sizes) <= 105


async def test_a_rare_resource_is_not_held_back_by_a_frequent_one(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    provider = timing(clock, 2)
    operations = upserts(4_000)
    operations[50] = Operation.upsert("fake", "deals", "rare", {"n": 1}, id="o50", connection="c0")
    async with make_engine(providers=[provider]) as engine:
        await submit(engine, provider, operations)
    rare_at = next(write.at for write in provider.writes if write.resource == "deals")
    assert rare_at - provider.submitted["o50"] <= 10 * 0.05


async def test_several_mixed_lanes_have_full_calls_too(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider]) as engine:
        await submit(engine, provider, upserts(4_000, RESOURCES, lanes=4))
    assert len(provider.sizes) <= 52


async def test_a_declared_concurrency_below_the_adapters_has_full_calls_too(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    provider = timing(clock)
    async with make_engine(providers=[provider], quotas={"fake": [Concurrency(2)]}) as engine:
        await submit(engine, provider, upserts(2_000, RESOURCES))
    assert len(provider.records) == 2_000
    assert len(provider.sizes) <= 30


class Counting(MemoryQueue):
    """Counts claims, and the leases that are settled."""

    claims = 0
    settled = 0

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        self.claims += 1
        return await super().claim(request)

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        self.settled += len(settlements)
        return await super().settle(worker, settlements)


def mixed_with_deletes(operations: list[Operation], count: int) -> list[Operation]:
    deletes = [Operation.delete("fake", "contacts", f"d{n}", id=f"d{n}", connection="c0") for n in range(count)]
    return [each for pair in zip_longest(operations, deletes) for each in pair if each is not None]


@pytest.mark.parametrize("max_calls", [64, 3])
async def test_kinds_that_go_alone_have_a_call_each_and_wait_for_their_turn(
    make_engine: EngineFactory, clock: VirtualClock, max_calls: int
) -> None:
    """300 writes one by one and 300 deletes in hundreds, 4 calls at a time."""
    provider = timing(clock, 4)
    provider.capabilities = evolve(provider.capabilities, batch_max={Kind.DELETE: MOST})
    async with make_engine(providers=[provider], settings=Settings(max_calls=max_calls)) as engine:
        await submit(engine, provider, mixed_with_deletes(upserts(300), 300))
    assert len(provider.records) == 300
    assert provider.sizes.count(1) >= 300
    assert len(provider.sizes) <= 306
    assert provider.most_at_once == min(4, max_calls)


@pytest.mark.parametrize(("deletes", "claims", "settled"), [(0, 80, 300), (200, 110, 1_300)], ids=["alone", "mixed"])
async def test_kinds_that_go_alone_are_not_claimed_in_vain_where_a_quota_is_narrow(
    make_engine: EngineFactory, clock: VirtualClock, deletes: int, claims: int, settled: int
) -> None:
    """Alone, as if no kind went in batches (68 and 236); mixed, what waits goes back together (80 and 1,149)."""
    provider = timing(clock, 4)
    provider.capabilities = evolve(provider.capabilities, batch_max={Kind.DELETE: MOST})
    queue, started_at = Counting(clock=clock), clock.now()
    limiter = MemoryLimiter(clock=clock, cold_start=False)
    quotas = {"fake": [Rate(20, per=2.0)]}
    async with make_engine(queue=queue, limiter=limiter, providers=[provider], quotas=quotas) as engine:
        await submit(engine, provider, mixed_with_deletes(upserts(200), deletes))
    assert provider.sizes.count(1) >= 200
    assert clock.now() - started_at <= 10 * 2.2 + 1
    assert queue.claims <= claims
    assert queue.settled <= settled


async def test_no_more_is_leased_than_fills_the_calls(make_engine: EngineFactory, clock: VirtualClock) -> None:
    """Unmixed, that is what the provider takes at once; mixed, not much more."""
    most: dict[str, int] = {}
    for name, resources in (("alike", RESOURCES[:1]), ("mixed", RESOURCES)):
        provider, backend = timing(clock, 2), MemoryBackend(clock=clock)
        async with make_engine(providers=[provider], backend=backend) as engine, anyio.create_task_group() as tasks:

            async def look(engine: SyncEngine = engine, name: str = name) -> None:
                while True:
                    most[name] = max(most.get(name, 0), (await engine.stats()).leased)
                    await anyio.sleep(0.01)

            tasks.start_soon(look)
            await submit(engine, provider, upserts(2_000, resources))
            tasks.cancel_scope.cancel()
    assert most["alike"] <= 2 * MOST
    assert most["mixed"] <= (2 + 4) * MOST


async def test_calls_that_end_one_by_one_share_claims(make_engine: EngineFactory, clock: VirtualClock) -> None:
    """300 lanes of one operation each, 64 calls at a time that end at different times."""
    queue = Counting(clock=clock)
    provider = FakeProvider(clock=clock, capabilities=Capabilities(batch_max=MOST), latency=(0.01, 0.05))
    operations = upserts(300, lanes=300)
    async with make_engine(queue=queue, providers=[provider]) as engine:
        await engine.submit_many(operations)
        assert await engine.drain(timeout=60)
    assert len(provider.records) == 300
    assert queue.claims <= 150


async def test_who_leaves_gives_back_at_once_what_lingers(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider, backend = timing(clock), MemoryBackend(clock=clock)
    left_at = 0.0
    async with make_engine(role="submit", backend=backend, providers=[provider]) as host:
        async with make_engine(
            role="work", backend=backend, providers=[provider], settings=Settings(linger=30, grace=10)
        ):
            await host.submit_many(upserts(3))
            await anyio.sleep(1)
            assert (await host.stats()).leased == 3
            left_at = clock.now()
        assert clock.now() - left_at < 0.1
        assert (await host.stats()).available == 3
        (entry,) = await backend.queue.get(["o0"])
        assert entry is not None
        assert entry.attempts == 0
    assert not provider.sizes


async def test_what_lingers_when_a_worker_dies_comes_back(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider, backend = timing(clock), MemoryBackend(clock=clock)
    async with make_engine(role="submit", backend=backend, providers=[provider]) as host:
        await host.submit_many(upserts(3))
        provider.submitted |= dict.fromkeys(["o0", "o1", "o2"], clock.now())
        dying = MortalQueue(backend.queue, clock)
        with anyio.CancelScope() as life:
            async with make_engine(
                role="work", queue=dying, limiter=backend.limiter, providers=[provider], settings=Settings(linger=30)
            ):
                await anyio.sleep(1)
                assert (await host.stats()).leased == 3
                dying.kill()
                life.cancel()
        async with make_engine(role="work", backend=backend, providers=[provider], settings=Settings(linger=1)):
            assert await host.drain(timeout=60)
    assert len(provider.records) == 3
    assert not provider.overlaps


async def test_a_lingering_lease_outlives_the_lease_time(make_engine: EngineFactory, clock: VirtualClock) -> None:
    queue = MemoryQueue(clock=clock, lease_seconds=3)
    provider = timing(clock)
    async with make_engine(queue=queue, providers=[provider], settings=Settings(linger=20)) as engine:
        await submit(engine, provider, upserts(3))
    assert provider.sizes == [3]
    assert max(provider.waits) <= 20


def test_the_linger_is_bounded() -> None:
    for wrong in (-0.1, 61.0):
        with pytest.raises(ValueError, match="linger"):
            Settings(linger=wrong)
    assert Settings(linger=60).linger == 60


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_where_calls_linger_and_workers_die(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lingering(Scenario):
        @classmethod
        @override
        def of(cls, seed: int, epoch: float) -> Scenario:
            scenario = Scenario.of(seed, epoch)
            return evolve(scenario, settings=evolve(scenario.settings, linger=(0.05, 1.0, 20.0)[seed % 3]))

    monkeypatch.setattr(simulation, "Scenario", Lingering)
    assert simulation.simulate(seed, backend="asyncio" if seed % 2 else "trio").violations == []


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_where_kinds_differ_in_size_and_workers_die(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed(Scenario):
        @classmethod
        @override
        def of(cls, seed: int, epoch: float) -> Scenario:
            scenario = Scenario.of(seed, epoch)
            able = evolve(scenario.capabilities, batch_max={Kind.UPDATE: 20, Kind.DELETE: 5})
            return evolve(scenario, capabilities=able)

    monkeypatch.setattr(simulation, "Scenario", Mixed)
    assert simulation.simulate(seed, backend="asyncio" if seed % 2 else "trio").violations == []


def test_with_a_queue_on_disk_it_is_the_same(tmp_path: Path) -> None:
    """In real time: a mixed backlog, and what many tasks submit one by one."""

    async def run() -> tuple[list[int], int]:
        provider = Timing(capabilities=Capabilities(batch_max=MOST), latency=(0.001, 0.001))
        backlog, single = upserts(1_000, RESOURCES), upserts(1_000 + MOST)[1_000:]
        provider.submitted = {operation.id or "": 0.0 for operation in (*backlog, *single)}
        backend, limiter, settings = SqliteBackend(tmp_path / "sync.db"), MemoryLimiter(), Settings(linger=0.5)
        async with SyncEngine(backend=backend, limiter=limiter, providers=[provider], settings=settings) as engine:
            await engine.pause()
            await engine.submit_many(backlog)
            await engine.resume()
            assert await engine.drain(timeout=60)
            calls = len(provider.sizes)
            async with anyio.create_task_group() as tasks:
                for operation in single:
                    tasks.start_soon(engine.submit, operation)
            assert await engine.drain(timeout=60)
        assert sum(provider.sizes) == 1_000 + MOST
        return provider.sizes[:calls], len(provider.sizes) - calls

    sizes, calls = anyio.run(run)
    assert len(sizes) <= 15
    assert calls <= 10
