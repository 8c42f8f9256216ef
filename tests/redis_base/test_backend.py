"""Engines that share all they have in one Redis, however it is run."""

from __future__ import annotations

import anyio
import pytest

from ratesync import Operation, Rate, SyncEngine
from ratesync.errors import ConfigurationError
from ratesync.model.outcome import Applied
from ratesync.model.stored import Write
from ratesync.model.work import Durability
from ratesync.redis import RedisBackend
from ratesync.testing.fake_provider import FakeProvider
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_sentinel import WatchedValkey
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio


async def sync_through(url: str, durability: Durability = Durability.PROCESS) -> None:
    """Two engines work on what a third one submits, under a quota that they share."""
    provider = FakeProvider("acme")

    def engine(role: str) -> SyncEngine:
        backend = RedisBackend.from_url(url, durability=durability, cold_start=False)
        return SyncEngine(backend=backend, providers=[provider], quotas={"acme": [Rate(60, per=0.5)]}, role=role)

    async with engine("submit") as web, engine("work"), engine("work"):
        operations = [
            Operation.upsert("acme", "contacts", f"r{number}", {"n": number}, connection=f"c{number % 2}")
            for number in range(80)
        ]
        for ticket in await web.submit_many(operations):
            assert isinstance(await ticket.outcome(timeout=30), Applied)
    assert provider.overlaps == 0
    assert {key[2]: record.fields["n"] for key, record in provider.records.items()} == {
        f"r{number}": number for number in range(80)
    }


async def test_on_a_single_server(durable_valkey: Valkey) -> None:
    await sync_through(durable_valkey.url, Durability.FSYNC_1S)


async def test_on_a_cluster(valkey_cluster: ValkeyCluster) -> None:
    await sync_through(valkey_cluster.url)


async def test_behind_a_sentinel_with_each_write_replicated(watched_valkey: WatchedValkey) -> None:
    await sync_through(watched_valkey.url, Durability.REPLICATED)


async def test_the_state_of_one_backend_is_that_of_another(shared_valkey: Valkey) -> None:
    one, other = (RedisBackend.from_url(shared_valkey.url, prefix="backend") for _ in range(2))
    for backend in (one, other):
        await backend.state.open()
    await one.state.commit([Write("checkpoint", b"17")])
    (found,) = await other.state.load(["checkpoint"])
    assert found is not None
    assert found.value == b"17"
    for backend in (one, other):
        await backend.state.close()


async def test_an_engine_picks_a_restarted_server_up_by_itself(durable_valkey: Valkey) -> None:
    """Case 20, through the engine: nothing is done by hand, nothing is lost."""
    durable_valkey.kill()
    durable_valkey.options = ("--appendfsync", "always")
    durable_valkey.start()
    provider = FakeProvider("acme", latency=(0.01, 0.02))
    backend = RedisBackend.from_url(durable_valkey.url, cold_start=False, lease_seconds=3.0)
    async with SyncEngine(backend=backend, providers=[provider], quotas={"acme": [Rate(400, per=1)]}) as engine:
        tickets = await engine.submit_many(Operation.upsert("acme", "contacts", f"r{n}", {"n": n}) for n in range(100))
        await anyio.sleep(0.1)
        durable_valkey.kill()
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(durable_valkey.start)
        for ticket in tickets:
            assert isinstance(await ticket.outcome(timeout=40), Applied)
    assert len(provider.records) == 100
    assert provider.overlaps == 0


def test_a_url_that_cannot_be_used_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match="redis://host"):
        RedisBackend.from_url("http://localhost")
