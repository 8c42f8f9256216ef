"""Bells are heard on every kind of server: on real connections, which wait at the server."""

from __future__ import annotations

import uuid
from functools import partial

import anyio
import coredis
import pytest
from coredis.retry import NoRetryPolicy

from ratesync.model.quota import Concurrency, Demand, Observation, Scope
from ratesync.redis import RedisLimiter
from ratesync.redis.limiter.root import QuotaRoot
from ratesync.redis.server.connect import MakeClient
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_server import Valkey

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # coredis leaves streams of connections open that never came about.
]

CALLS = [Demand(Scope("acme", "ada"), Concurrency(1))]
IN_TIME = 10.0


async def check_that_bells_are_heard(server: str | MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permits go to and fro between two workers, and both hear of it."""
    heard = set[str]()
    hear = QuotaRoot.hear

    def note(root: QuotaRoot, key: str, now: float) -> None:
        heard.add(root.member.holder)
        hear(root, key, now)

    monkeypatch.setattr(QuotaRoot, "hear", note)
    prefix = f"{uuid.uuid4().hex}:"
    limiters = [RedisLimiter(server, prefix=prefix, cold_start=False) for _ in range(2)]
    for limiter in limiters:
        await limiter.open()
    try:

        async def call(limiter: RedisLimiter) -> None:
            while len(heard) < len(limiters):
                permit = await limiter.acquire(CALLS)
                await anyio.sleep(0.002)
                limiter.done(permit, Observation())

        with anyio.fail_after(IN_TIME):
            async with anyio.create_task_group() as tasks:
                for limiter in limiters:
                    tasks.start_soon(call, limiter)
    finally:
        for limiter in limiters:
            await limiter.close()


async def test_bells_are_heard(shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_that_bells_are_heard(shared_valkey.url, monkeypatch)


async def test_bells_are_heard_in_a_cluster(valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_that_bells_are_heard(valkey_cluster.url, monkeypatch)


async def test_bells_are_heard_by_clients_of_the_host(shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    make = partial(coredis.Redis, "127.0.0.1", shared_valkey.port, retry_policy=NoRetryPolicy())
    await check_that_bells_are_heard(make, monkeypatch)


async def test_bells_are_heard_by_clients_that_do_not_wait_for_long(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of the host's may give up sooner than we wait at the server: listened to again."""
    make = partial(coredis.Redis, "127.0.0.1", shared_valkey.port, retry_policy=NoRetryPolicy(), stream_timeout=0.05)
    await check_that_bells_are_heard(make, monkeypatch)
