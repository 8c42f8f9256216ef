"""What the engine holds while its queue is slow, or does not take settlements for a long time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    CreateIdentity,
    Operation,
    OperationState,
    Outcome,
    Settings,
    SyncEngine,
)
from ratesync.clock import SystemClock
from ratesync.errors import QueueError
from ratesync.memory import MemoryBackend, MemoryLimiter, MemoryQueue, MemoryStateStore
from ratesync.model.event import Event, LeaseRefused, LoopBlocked
from ratesync.model.work import Lease, Settlement
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio
ROUND_TRIP = 0.3
AWAY = 120.0
"""Eight times as long as a lease lasts."""


@define
class SlowQueue(MortalQueue):
    """Takes its time to extend leases."""

    seconds: float = ROUND_TRIP
    is_asked: bool = False

    @override
    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        self.is_asked = True
        await anyio.sleep(self.seconds)
        return await super().extend(worker, leases)


@define
class FullQueue(MortalQueue):
    """Takes no settlements, as a file on a full disk."""

    is_full: bool = False

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        if self.is_full:
            raise QueueError("no room for results")
        return await super().settle(worker, settlements)


@define
class Sleeper:
    """Takes as long as it is told for an operation."""

    name: str
    seconds: Callable[[str], float]
    capabilities: Capabilities
    seen: list[str] = field(factory=list[str])

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        names = [operation.id or "" for operation in batch.operations]
        self.seen += names
        await anyio.sleep(max(map(self.seconds, names)))
        return {name: Applied() for name in names}


def sleeper(name: str, seconds: Callable[[str], float], *, concurrency: int | None, batch_max: int) -> Sleeper:
    able = Capabilities(batch_max=batch_max, create_identity=CreateIdentity.CLIENT_ID, concurrency=concurrency)
    return Sleeper(name, seconds, able)


async def test_a_call_that_grows_while_leases_are_extended_costs_no_other_its_lease(
    make_engine: EngineFactory, backend: MemoryBackend, clock: VirtualClock
) -> None:
    """Which answers are whose is settled before the queue is asked."""
    one = sleeper("one", lambda _: 20.0, concurrency=1, batch_max=100)
    other = sleeper("other", lambda _: 20.0, concurrency=None, batch_max=1)
    events: list[Event] = []
    async with make_engine(
        queue=SlowQueue(backend.queue, clock),
        limiter=MemoryLimiter(clock=clock, cold_start=False),
        providers=[one, other],
        observers=[events.append],
        settings=Settings(linger=0.01),
    ) as engine:
        await engine.submit(Operation.upsert("one", "contacts", "under way", {}))
        await anyio.sleep(0.2)
        await engine.submit(Operation.upsert("one", "contacts", "waiting", {}))
        await anyio.sleep(0.2)
        await engine.submit(Operation.upsert("other", "contacts", "slow", {}))
        for number in range(80):  # some of them come while leases are extended
            await engine.submit(Operation.upsert("one", "contacts", f"more{number}", {}))
            await anyio.sleep(0.25)
        assert await engine.drain(timeout=600)
    assert len(other.seen) == 1
    assert not any(isinstance(event, LeaseRefused) for event in events)


async def test_what_the_queue_did_not_take_for_long_is_settled_as_soon_as_it_does(
    make_engine: EngineFactory, backend: MemoryBackend, clock: VirtualClock
) -> None:
    """The worker lives, and so do its leases: nothing would come back by itself."""
    queue = FullQueue(backend.queue, clock)
    provider = sleeper("fake", lambda name: 20.0 if name.startswith("slow") else 1.0, concurrency=None, batch_max=1)
    async with make_engine(queue=queue, providers=[provider], settings=Settings(grace=1)) as engine:
        await engine.submit_many(Operation.upsert("fake", "contacts", f"slow{n}", {}, id=f"slow{n}") for n in range(9))
        await engine.submit(Operation.upsert("fake", "contacts", "x", {}, id="x"))
        queue.is_full = True
        await anyio.sleep(AWAY)
        assert (await engine.status("x")).state is OperationState.LEASED
        queue.is_full = False
        await anyio.sleep(queue.lease_seconds / 3 + 0.1)
        assert (await engine.status("x")).state is OperationState.COMPLETED
        await engine.drain(timeout=600)
    assert provider.seen.count("x") == 1


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # in real time: the watchdog is a thread
async def test_a_loop_that_turns_is_not_blocked_while_leases_are_extended_slowly() -> None:
    blocked_after, events = 1.0, list[Event]()
    queue = SlowQueue(MemoryQueue(lease_seconds=3.0), SystemClock(), seconds=3 * blocked_after)
    provider = sleeper("fake", lambda _: 5.0, concurrency=None, batch_max=1)
    async with SyncEngine(
        queue=queue,
        limiter=MemoryLimiter(cold_start=False),
        state=MemoryStateStore(),
        providers=[provider],
        observers=[events.append],
        settings=Settings(blocked_after=blocked_after),
    ) as engine:
        await engine.submit(Operation.upsert("fake", "contacts", "1", {}))
        assert await engine.drain(timeout=30)
    assert queue.is_asked
    assert not any(isinstance(event, LoopBlocked) for event in events)
