"""How much is claimed at a time, and how soon what a dead worker held is done."""

from __future__ import annotations

import pytest
from typing_extensions import override

from ratesync import Capabilities, Operation
from ratesync.memory import MemoryBackend, MemoryQueue
from ratesync.model.work import Claim, ClaimRequest
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

LANES = 300
HELD = 20
CALL_SECONDS = 0.1


class CountingQueue(MemoryQueue):
    claims = 0

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        self.claims += 1
        return await super().claim(request)


def upserts(count: int, lanes: int) -> list[Operation]:
    return [Operation.upsert("fake", "contacts", f"r{n}", {"n": n}, connection=f"c{n % lanes}") for n in range(count)]


async def test_lanes_with_little_in_each_share_claims(make_engine: EngineFactory, clock: VirtualClock) -> None:
    """The adapter takes batches of 100, but there is one operation in each lane."""
    provider = FakeProvider(
        clock=clock, capabilities=Capabilities(batch_max=100, concurrency=None), latency=(CALL_SECONDS, CALL_SECONDS)
    )
    queue = CountingQueue(clock=clock)
    async with make_engine(role="submit", queue=queue, providers=[provider]) as host:
        await host.submit_many(upserts(LANES, LANES))
    async with make_engine(queue=queue, providers=[provider]) as engine:
        assert await engine.drain(timeout=60)
    assert len(provider.records) == LANES
    assert queue.claims <= LANES / 10


async def test_what_a_dead_worker_held_is_done_soon_though_one_after_the_other(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """Each may have brought it down, so no two are under way at once."""
    provider = FakeProvider(
        clock=clock, capabilities=Capabilities(batch_max=1, concurrency=None), latency=(CALL_SECONDS, CALL_SECONDS)
    )
    backend = MemoryBackend(clock=clock)
    async with make_engine(role="submit", backend=backend, providers=[provider]) as host:
        await host.submit_many(upserts(HELD, 1))
        await backend.queue.claim(ClaimRequest("dead", HELD, {"fake": 1}))
        clock_at = clock.now() + backend.queue.lease_seconds
        async with make_engine(role="work", backend=backend, providers=[provider]):
            assert await host.drain(timeout=600)
    assert len(provider.records) == HELD
    assert clock.now() - clock_at <= 2 * HELD * CALL_SECONDS
