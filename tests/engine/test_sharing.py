"""What calls share, so that each costs less: tasks, claims and settlements."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Batch, Capabilities, Operation, Outcome
from ratesync.engine.crew import Crew
from ratesync.memory import MemoryBackend
from ratesync.model.work import Claim, ClaimRequest, Settlement
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio


def upserts(count: int) -> list[Operation]:
    return [Operation.upsert("fake", "contacts", str(number), {"n": number}) for number in range(count)]


@define
class CountingQueue(MortalQueue):
    """Notes how much was claimed, and settled, in one go."""

    claims: list[int] = field(factory=list[int])
    settlements: list[int] = field(factory=list[int])

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        claim = await super().claim(request)
        self.claims.append(len(claim.batches))
        return claim

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        self.settlements.append(len(settlements))
        return await super().settle(worker, settlements)


@define
class MeetingProvider(FakeProvider):
    """Notes how many calls were under way at the same time."""

    under_way: int = 0
    most: int = 0

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().execute(batch)
        finally:
            self.under_way -= 1


@pytest.fixture
def queue(backend: MemoryBackend, clock: VirtualClock) -> CountingQueue:
    return CountingQueue(backend.queue, clock)


async def test_a_crowd_of_calls_is_made_at_the_same_time_and_settled_together(
    make_engine: EngineFactory, queue: CountingQueue, clock: VirtualClock
) -> None:
    provider = MeetingProvider(clock=clock, latency=(1.0, 1.0), capabilities=Capabilities(concurrency=None))
    started_at = clock.now()
    async with make_engine(queue=queue, providers=[provider]) as engine:
        await engine.submit_many(upserts(60))
        assert await engine.drain(timeout=60)
    assert provider.most == 60
    assert clock.now() - started_at < 1.1
    assert sum(queue.settlements) == 60
    assert len(queue.settlements) <= 3


async def test_what_comes_in_while_calls_are_under_way_is_claimed_together(
    make_engine: EngineFactory, queue: CountingQueue, clock: VirtualClock
) -> None:
    provider = FakeProvider(clock=clock, latency=(1.0, 1.0), capabilities=Capabilities(concurrency=None))
    async with make_engine(queue=queue, providers=[provider]) as engine:
        for operation in upserts(60):
            await engine.submit(operation)
        assert await engine.drain(timeout=60)
    assert sum(queue.claims) == 60
    assert max(queue.claims) > 40


async def test_what_comes_in_with_nothing_under_way_is_called_at_once(
    make_engine: EngineFactory, provider: FakeProvider, clock: VirtualClock
) -> None:
    provider.latency = (0.01, 0.01)
    started_at = clock.now()
    async with make_engine() as engine:
        for operation in upserts(20):
            await (await engine.submit(operation)).outcome()
    assert clock.now() - started_at == pytest.approx(20 * 0.01, abs=0.0005)


async def test_a_member_that_never_waits_lets_others_run() -> None:
    """Adapters that never wait but take long must not hold everything up until the last of a claim is done."""

    class Ticking:
        """Each look takes longer than a turn may."""

        is_virtual = True
        at = 0.0

        def now(self) -> float:
            self.at += 1.0
            return self.at

    served: list[int] = []
    seen: list[int] = []

    async def serve(call: object) -> None:
        served.append(len(served))

    async with anyio.create_task_group() as tasks:
        crew = Crew(tasks, serve, Ticking())
        for _ in range(5):
            crew.give(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  never looked at
        while len(served) < 5:
            seen.append(len(served))
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert len(set(seen)) > 1
