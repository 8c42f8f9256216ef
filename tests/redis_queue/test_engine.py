"""Engines of two roles that share a queue in Redis."""

from __future__ import annotations

import pytest

from ratesync import Operation, SyncEngine
from ratesync.memory import MemoryLimiter, MemoryStateStore
from ratesync.model.outcome import Applied
from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.testing.fake_provider import FakeProvider
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio


async def test_what_one_engine_submits_another_carries_out(valkey: Valkey) -> None:
    provider = FakeProvider("acme")

    def engine(role: str) -> SyncEngine:
        return SyncEngine(
            queue=RedisQueue(RedisServer.from_url(valkey.url, durability=Durability.PROCESS)),
            limiter=MemoryLimiter(),
            state=MemoryStateStore(),
            providers=[provider],
            role=role,
        )

    async with engine("submit") as web, engine("work"), engine("work"):
        tickets = await web.submit_many(
            Operation.upsert("acme", "contacts", f"r{number % 40}", {"n": number}, connection=f"c{number % 3}")
            for number in range(120)
        )
        for ticket in tickets:
            assert isinstance(await ticket.outcome(timeout=20), Applied)
        assert await web.drain(timeout=20)
        assert (await web.stats()).pending == 0
    assert provider.overlaps == 0
    newest = {(f"c{number % 3}", f"r{number % 40}"): number for number in range(120)}
    assert {(key[0], key[2]): record.fields["n"] for key, record in provider.records.items()} == newest
