"""Engines of two roles that share a queue in Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import anyio.to_thread
import coredis
import pytest
from coredis.retry import NoRetryPolicy

from ratesync import Capabilities, Operation, Quota, Rate, SyncEngine
from ratesync.memory import MemoryLimiter, MemoryStateStore
from ratesync.model.batch import Batch
from ratesync.model.event import BackendFailed, Event, LeaseRefused, Settled
from ratesync.model.outcome import Applied, Outcome
from ratesync.model.work import Durability
from ratesync.redis import RedisLimiter
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.redis.state import RedisStateStore
from ratesync.testing.fake_provider import FakeProvider
from tests.servers.cutting_proxy import CuttingProxy
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


async def test_a_settlement_that_got_no_answer_at_first_is_no_refusal(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    """The queue gives up after its patience, and the engine settles again."""
    events: list[Event] = []
    settled = anyio.Event()

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, BackendFailed) and not event.retry_after:  # it could not settle
            cutting_proxy.heal()
        elif isinstance(event, Settled | LeaseRefused):
            settled.set()

    class Cutting(FakeProvider):
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            if self.calls:  # the scripts are known, so that one request is one answer
                cutting_proxy.swallow_replies()
            return await super().execute(batch)

    server = RedisServer.from_url(cutting_proxy.url, durability=Durability.PROCESS, timeout=0.3, patience=1.0)
    async with SyncEngine(
        queue=RedisQueue(server),
        limiter=MemoryLimiter(),
        state=MemoryStateStore(),
        providers=[Cutting("acme")],
        observers=[note],
    ) as engine:
        first = await engine.submit(Operation.upsert("acme", "contacts", "r1", {"n": 1}))
        assert isinstance(await first.outcome(timeout=20), Applied)
        settled = anyio.Event()
        ticket = await engine.submit(Operation.upsert("acme", "contacts", "r1", {"n": 2}))
        with anyio.fail_after(30):
            await settled.wait()
        assert isinstance(await ticket.outcome(timeout=20), Applied)
    kinds = [type(event) for event in events]
    assert BackendFailed in kinds
    assert LeaseRefused not in kinds
    assert sum(event.completed for event in events if isinstance(event, Settled)) == 2


async def test_an_engine_works_on_a_client_of_the_hosts(valkey: Valkey) -> None:
    """Queue and state go over it, it is not closed with the engine, and a thread finds the way to its server."""
    provider = FakeProvider("acme")
    async with coredis.Redis("127.0.0.1", valkey.port, retry_policy=NoRetryPolicy()) as client:
        server = RedisServer(client, durability=Durability.PROCESS)
        queue = RedisQueue(server)
        async with SyncEngine(
            queue=queue, limiter=MemoryLimiter(), state=RedisStateStore(server), providers=[provider]
        ) as engine:
            tickets = await engine.submit_many(
                Operation.upsert("acme", "contacts", f"r{number % 10}", {"n": number}) for number in range(40)
            )
            for ticket in tickets:
                assert isinstance(await ticket.outcome(timeout=20), Applied)
            assert await engine.drain(timeout=20)
            await anyio.to_thread.run_sync(queue.keep_alive, "a worker")
        assert await client.exists([f"{server.prefix}:{{queue/0}}:root"]) == 1
    assert provider.overlaps == 0
    assert {key[2]: record.fields["n"] for key, record in provider.records.items()} == {
        f"r{number}": 30 + number for number in range(10)
    }


@pytest.mark.parametrize("cold_start", [True, False])
@pytest.mark.parametrize("quotas", [[], [Rate(100, per=1.0)]])
async def test_workers_that_share_a_scarce_limit_do_not_stop_each_other(
    valkey: Valkey, quotas: list[Quota], *, cold_start: bool
) -> None:
    """Who lacks a permit that another process holds waits for it, and leaves the lane open to that one.

    Where the lane was parked, each permit that was elsewhere stopped all workers for 5 s.
    """
    capabilities = Capabilities(concurrency=4)
    providers = [FakeProvider("acme", capabilities, latency=(0.02, 0.02)) for _ in range(3)]

    def engine(provider: FakeProvider) -> SyncEngine:
        return SyncEngine(
            queue=RedisQueue(RedisServer.from_url(valkey.url, durability=Durability.PROCESS)),
            limiter=RedisLimiter(valkey.url, cold_start=cold_start),
            state=MemoryStateStore(),
            providers=[provider],
            quotas={"acme": quotas},
        )

    async with AsyncExitStack() as stack:
        first, *_ = [await stack.enter_async_context(engine(provider)) for provider in providers]
        await first.submit_many(Operation.upsert("acme", "contacts", f"r{number}", {}) for number in range(200))
        assert await first.drain(timeout=30)
    calls = [provider.calls for provider in providers]
    assert sum(calls) == 200
    assert min(calls) > 0
