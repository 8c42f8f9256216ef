"""Case 17: nothing is left behind by operations that are done."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from attrs import frozen

from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Rate, SyncEngine
from ratesync.memory import MemoryQueue
from ratesync.model.event import Event
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import EngineFactory

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CHUNK = 1_000
CONNECTIONS = 10


class Nothing:
    """A provider that does nothing."""

    name = "fake"
    capabilities = Capabilities(batch_max=100)

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        await anyio.sleep(0.001)
        applied = Applied()
        return {operation.id or "": applied for operation in batch.operations}


@frozen
class Held:
    """What the process holds."""

    objects: int
    tasks: int
    threads: int
    files: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        files = Path("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd")
        return cls(
            objects=len(gc.get_objects()),
            tasks=len(anyio.get_running_tasks()),
            threads=threading.active_count(),
            files=len(list(files.iterdir())) if files.exists() else 0,
        )


def ignore(event: Event) -> None:
    """An observer, so that there are events."""


async def carry_out(engine: SyncEngine, start: int, end: int, *, connections: int) -> None:
    """Operations on one record each, in chunks; each chunk is done before the next."""
    for first in range(start, end, CHUNK):
        await engine.submit_many(
            [
                Operation.upsert("fake", "contacts", str(number), {"n": number}, connection=f"c{number % connections}")
                for number in range(first, min(first + CHUNK, end))
            ]
        )
        assert await engine.drain(timeout=600)


@pytest.mark.timeout(300)
async def test_case_17_operations_leave_nothing_behind(make_engine: EngineFactory, clock: VirtualClock) -> None:
    queue = MemoryQueue(clock=clock, result_capacity=CHUNK)
    async with make_engine(queue=queue, providers=[Nothing()], observers=[ignore]) as engine:
        await carry_out(engine, 0, 20_000, connections=CONNECTIONS)
        before = Held.now()
        await carry_out(engine, 20_000, 100_000, connections=CONNECTIONS)
        after = Held.now()
    assert after.objects - before.objects < 1_000
    assert after.tasks <= before.tasks
    assert after.threads <= before.threads
    assert after.files <= before.files


async def test_case_17_lanes_leave_nothing_behind(make_engine: EngineFactory, clock: VirtualClock) -> None:
    """Memory is bounded by the lanes in use, not by those ever seen."""
    queue = MemoryQueue(clock=clock, result_capacity=CHUNK)
    quotas = {"fake": [Rate(1000, per=1.0)]}
    held: list[Held] = []
    async with make_engine(queue=queue, providers=[Nothing()], quotas=quotas) as engine:
        for generation in range(6):
            await engine.submit_many(
                [
                    Operation.upsert("fake", "contacts", "1", {}, connection=f"{generation}-{number}")
                    for number in range(CHUNK)
                ]
            )
            assert await engine.drain(timeout=600)
            await anyio.sleep(3600)  # windows, circuits and results of the lanes are of no use any more
            held.append(Held.now())
    # The lanes of one generation may still be known, but not those of three.
    assert held[-1].objects - held[2].objects < CHUNK


async def test_case_17_a_leak_of_one_object_for_each_operation_would_be_seen(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """The measure itself works."""
    leak: list[list[object]] = []

    class Leaking(Nothing):
        async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
            leak.extend([operation] for operation in batch.operations)
            return await super().execute(batch)

    queue = MemoryQueue(clock=clock, result_capacity=CHUNK)
    async with make_engine(queue=queue, providers=[Leaking()]) as engine:
        await carry_out(engine, 0, 2_000, connections=CONNECTIONS)
        before = Held.now()
        await carry_out(engine, 2_000, 6_000, connections=CONNECTIONS)
        assert Held.now().objects - before.objects > 4_000
    assert len(leak) == 6_000
