"""ratesync: an engine whose queue and state are in Redis, as a program has it.

Settings: 64 calls at a time, its default. The provider has no quota, so the limiter has nothing to do. It takes up to
100 operations in a call that does nothing, and one in a call that takes time. As always, the order of each record is
kept, and the last 10,000 finished operations are remembered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import cast

import anyio
from attrs import Factory, frozen

from benchmarks._queue_job import Job, Submitter, Work
from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Settings, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.model.lane import Selector
from ratesync.model.work import Durability
from ratesync.protocols import Limiter
from ratesync.redis import RedisQueue, RedisServer, RedisStateStore

BATCH = 100
CONCURRENCY = 64
ROOM = 2_000_000
DONE = Applied()


async def _nothing(number: int, at: float) -> None:
    """For an engine that only submits."""


@frozen
class Provider:
    """Hands each operation to the benchmark."""

    handle: Callable[[int, float], Awaitable[None]] = _nothing
    capabilities: Capabilities = Factory(lambda: Capabilities(batch_max=BATCH, concurrency=None))
    name: str = "crm"

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Do the work of all operations."""
        for operation in batch.operations:
            fields = operation.fields
            await self.handle(cast("int", fields["number"]), cast("float", fields["at"]))
        return {operation.id or "": DONE for operation in batch.operations}


def load() -> None:
    """Import the client."""
    import_module("ratesync.redis")


def engine(
    url: str,
    role: str,
    provider: Provider | None = None,
    calls: int = CONCURRENCY,
    limiter: Limiter | None = None,
) -> SyncEngine:
    """An engine on the queue and the state of that server."""
    server = RedisServer.from_url(url, durability=Durability.PROCESS)
    return SyncEngine(
        queue=RedisQueue(server, capacity=ROOM),
        state=RedisStateStore(server),
        limiter=limiter or MemoryLimiter(),
        providers=[provider or Provider()],
        settings=Settings(max_calls=calls),
        role=role,
    )


def _operation(job: Job) -> Operation:
    return Operation.update("crm", "contacts", str(job.number), job.arguments(), connection=f"c{job.lane}")


@asynccontextmanager
async def submitter(url: str) -> AsyncGenerator[Submitter]:
    """A client, connected."""
    async with engine(url, "submit") as submitting:

        async def one(job: Job) -> None:
            await submitting.submit(_operation(job))

        async def many(jobs: Sequence[Job]) -> None:
            await submitting.submit_many([_operation(job) for job in jobs])

        yield Submitter(one, many)


async def work(url: str, work: Work, batch: int = BATCH) -> None:
    """Work for ever."""
    batch = 1 if work.concurrency else batch
    provider = Provider(work.handle, Capabilities(batch_max=batch, concurrency=None))
    async with engine(url, "work", provider, work.concurrency or CONCURRENCY):
        await anyio.sleep_forever()


async def left(url: str) -> int:
    """Operations that are queued or under way."""
    queue = RedisQueue(RedisServer.from_url(url, durability=Durability.PROCESS), capacity=ROOM)
    await queue.open()
    stats = await queue.stats(Selector())
    await queue.close()
    return stats.pending + stats.dead
