"""Calls are shared with a queue in Redis as with any other."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Batch, Capabilities, Operation, Outcome, Settings, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.testing.fake_provider import FakeProvider
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio

MOST = 100


@define
class Counting(FakeProvider):
    """Notes how large calls are."""

    sizes: list[int] = field(factory=list[int], init=False)

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.sizes.append(len(batch.operations))
        return await super().execute(batch)


async def test_a_mixed_backlog_and_what_many_submit_one_by_one_leave_in_few_calls(valkey: Valkey) -> None:
    provider = Counting("acme", Capabilities(batch_max=MOST), latency=(0.001, 0.001))
    backlog = [Operation.upsert("acme", f"kind{number % 3}", f"r{number}", {"n": number}) for number in range(1_000)]
    singles = [Operation.upsert("acme", "one", f"s{number}", {"n": number}) for number in range(MOST)]
    queue = RedisQueue(RedisServer.from_url(valkey.url, durability=Durability.PROCESS))
    async with SyncEngine(
        queue=queue, limiter=MemoryLimiter(), providers=[provider], settings=Settings(linger=0.5)
    ) as engine:
        await engine.pause()
        await engine.submit_many(backlog)
        await engine.resume()
        assert await engine.drain(timeout=60)
        assert len(provider.sizes) <= 15
        provider.sizes.clear()
        async with anyio.create_task_group() as tasks:
            for operation in singles:
                tasks.start_soon(engine.submit, operation)
        assert await engine.drain(timeout=60)
    assert len(provider.sizes) <= 10
    assert len(provider.records) == 1_000 + MOST
