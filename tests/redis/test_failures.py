"""Cases 19 to 32 of the failure catalogue for the limiter: a Redis that is away, new, busy, full, slow or cut off.

Never is anything granted that the server did not grant, and all goes on by itself when the server does.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from ratesync.errors import LimiterError
from ratesync.model.quota import Concurrency, Demand, Observation, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.server.clock import BASE
from ratesync.testing.limiter_callers import granted, refused
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_server import Valkey, wait_for

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # coredis leaves streams of connections open that never came about.
]

CALLS = Demand(Scope("acme", "ada"), Concurrency(2))
RATE = Demand(Scope("acme", "ada"), Rate(5, per=600))
SOON = 8.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop: what differs between them is tested in virtual time."""
    return "asyncio"


@asynccontextmanager
async def limiting(url: str, timeout: float = 0.2, prefix: str = "") -> AsyncGenerator[RedisLimiter]:
    prefix = prefix or f"{uuid.uuid4().hex}:"
    limiter = RedisLimiter(url, prefix=prefix, cold_start=False, timeout=timeout)
    await limiter.open()
    try:
        yield limiter
    finally:
        await limiter.close()


async def closed_and_open_again(
    limiter: RedisLimiter, breaks: Callable[[], object], heals: Callable[[], object]
) -> None:
    """While it is broken nothing is granted, with an error that says so; then all is as before."""
    await granted(limiter, RATE)
    breaks()
    with pytest.raises(LimiterError, match="Redis does not answer"):
        await limiter.reserve([RATE])
    with anyio.move_on_after(0.1):
        await limiter.acquire([RATE])
        pytest.fail("granted without the server")
    heals()
    with anyio.fail_after(SOON):
        await limiter.acquire([RATE])
    with anyio.fail_after(SOON):
        await granted(limiter, RATE._replace(cost=3))
        await refused(limiter, RATE)


async def test_16_quotas_of_a_newer_layout_are_left_alone(valkey: Valkey) -> None:
    names = KeyNames("newer:", "acme")
    async with limiting(valkey.url, prefix=names.prefix) as limiter:
        await granted(limiter, RATE)
        valkey.ask("HSET", names.root, "layout", "2")
        before = valkey.ask("HGETALL", names.root)
        with pytest.raises(LimiterError, match=r"LAYOUT.*upgrade this process"):
            await limiter.reserve([RATE._replace(cost=4)])
        assert valkey.ask("HGETALL", names.root) == before
        valkey.ask("HDEL", names.root, "layout")
        with anyio.fail_after(SOON):
            await limiter.acquire([RATE._replace(cost=4)])


async def test_19_a_server_that_is_down_at_the_start_is_picked_up_when_it_comes(valkey: Valkey) -> None:
    valkey.kill()
    async with limiting(valkey.url) as limiter:
        with pytest.raises(LimiterError, match="Redis does not answer"):
            await limiter.reserve([RATE])
        valkey.start()
        with anyio.fail_after(SOON):
            await limiter.acquire([RATE])


async def test_22_a_server_that_forgot_its_scripts_is_told_them_again(valkey: Valkey) -> None:
    async with limiting(valkey.url) as limiter:
        await granted(limiter, RATE)
        valkey.command("SCRIPT", "FLUSH")
        await granted(limiter, RATE._replace(cost=4))
        await refused(limiter, RATE)


async def test_22_a_server_that_restarts_forgets_its_scripts_and_not_what_was_granted(durable_valkey: Valkey) -> None:
    async with limiting(durable_valkey.url) as limiter:
        await granted(limiter, RATE._replace(cost=4))
        wait_for(lambda: durable_valkey.info("persistence")["aof_pending_bio_fsync"] == "0")
        durable_valkey.kill()
        durable_valkey.start()
        with anyio.fail_after(SOON):
            await limiter.acquire([RATE])
        await refused(limiter, RATE)


async def test_23_a_server_that_is_loading_its_data_grants_nothing(durable_valkey: Valkey) -> None:
    filled = "for number = 1, 15000 do redis.call('SADD', KEYS[1], number) end"

    def load_slowly() -> None:
        durable_valkey.kill()
        durable_valkey.options = ("--key-load-delay", "30")
        durable_valkey.start(loads=True)

    async with limiting(durable_valkey.url) as limiter:
        await granted(limiter, RATE)
        durable_valkey.command("EVAL", f'"{filled}"', "1", "others")
        wait_for(lambda: durable_valkey.info("persistence")["aof_pending_bio_fsync"] == "0")
        load_slowly()
        with pytest.raises(LimiterError, match="Redis does not answer"):
            await limiter.reserve([RATE])
        with anyio.fail_after(SOON):
            await limiter.acquire([RATE])
        await granted(limiter, RATE._replace(cost=3))
        await refused(limiter, RATE)


async def test_24_a_server_that_only_reads_grants_nothing(valkey: Valkey) -> None:
    async with limiting(valkey.url) as limiter:
        await closed_and_open_again(
            limiter,
            lambda: valkey.command("REPLICAOF", "127.0.0.1", "1"),
            lambda: valkey.command("REPLICAOF", "NO", "ONE"),
        )


async def test_25_a_server_that_is_full_grants_nothing(valkey: Valkey) -> None:
    async with limiting(valkey.url) as limiter:
        await closed_and_open_again(
            limiter,
            lambda: valkey.command("CONFIG", "SET", "maxmemory", "1"),
            lambda: valkey.command("CONFIG", "SET", "maxmemory", "0"),
        )


async def test_28_a_server_that_is_slow_grants_nothing(valkey: Valkey) -> None:
    async with limiting(valkey.url) as limiter:
        await closed_and_open_again(
            limiter,
            lambda: valkey.command("CLIENT", "PAUSE", "1500", "ALL"),
            lambda: None,
        )


async def test_29_a_server_that_runs_a_script_of_others_for_long_grants_nothing(valkey: Valkey) -> None:
    valkey.command("CONFIG", "SET", "busy-reply-threshold", "20")
    endless = threading.Thread(target=valkey.command, args=("EVAL", '"while true do tostring(1) end"', "0"))

    def run_for_ever() -> None:
        endless.start()
        while not valkey.command("PING").startswith("-BUSY"):
            pass

    async with limiting(valkey.url) as limiter:
        await closed_and_open_again(limiter, run_for_ever, lambda: valkey.command("SCRIPT", "KILL"))
    endless.join(5)


async def test_30_a_connection_that_swallows_everything_grants_nothing(
    cutting_proxy: CuttingProxy,
) -> None:
    async with limiting(cutting_proxy.url) as limiter:
        await closed_and_open_again(limiter, cutting_proxy.black_hole, cutting_proxy.heal)


async def test_31_answers_in_slices_are_understood(cutting_proxy: CuttingProxy) -> None:
    cutting_proxy.slice()
    async with limiting(cutting_proxy.url, timeout=20) as limiter:  # so many pieces take their time
        await granted(limiter, RATE._replace(cost=5))
        await refused(limiter, RATE)


async def test_31_after_a_reset_all_goes_on(cutting_proxy: CuttingProxy) -> None:
    async with limiting(cutting_proxy.url) as limiter:
        await closed_and_open_again(limiter, lambda: cutting_proxy.cut_all(refuse=True), cutting_proxy.heal)


@pytest.mark.parametrize("after", [0, 1, 40])
async def test_32_an_answer_that_is_lost_loses_no_permit_and_gives_none_twice(
    cutting_proxy: CuttingProxy, after: int
) -> None:
    async with limiting(cutting_proxy.url) as limiter:
        permit = await granted(limiter, RATE, CALLS)
        for _ in range(3):
            cutting_proxy.cut_replies(after=after)
            with anyio.fail_after(SOON):
                limiter.refund(await limiter.acquire([RATE, CALLS]))
        limiter.done(permit, Observation())
        with anyio.fail_after(SOON):
            await limiter.acquire([RATE._replace(cost=4), CALLS._replace(cost=2)])
        await refused(limiter, RATE)
        await refused(limiter, CALLS)


async def test_34_while_a_slot_moves_nothing_is_granted_and_the_dead_are_buried_after(
    valkey_cluster: ValkeyCluster,
) -> None:
    """All keys that an exchange declares may be at one node, and those of a dead process still at the other."""
    demand = Demand(Scope("acme"), Rate(50, per=600))
    names = KeyNames("moving:", "acme")
    async with limiting(valkey_cluster.url, timeout=1, prefix=names.prefix) as limiter:
        limiter.done(await granted(limiter, demand), Observation())
        owner, target = valkey_cluster.owner(names.root), valkey_cluster.other(names.root)
        bucket, dead = names.bucket(demand.scope, demand.quota), f"{names.holder_prefix}dead"
        await anyio.to_thread.run_sync(wait_for, lambda: owner.ask("EXISTS", names.log(bucket)))
        declared = [key for key in owner.ask("KEYS", f"{names.tag}*") if key != dead]
        owner.ask("HSET", dead, f"o{bucket}", "3")
        owner.ask("HINCRBY", bucket, "out", "3")
        seconds, _ = owner.ask("TIME")
        owner.ask("ZADD", names.holders, str(int(seconds) - BASE - 1), "dead")  # its time was up a second ago
        await anyio.to_thread.run_sync(valkey_cluster.begin_migration, names.root, target)
        await anyio.to_thread.run_sync(valkey_cluster.move, declared, target)
        with anyio.move_on_after(0.5):
            await limiter.acquire([demand._replace(cost=40)])
            pytest.fail("granted by a node that has not all keys")
        await anyio.to_thread.run_sync(valkey_cluster.migrate, names.root, target)
        await anyio.to_thread.run_sync(valkey_cluster.end_migration, names.root, target)
        with anyio.fail_after(SOON):
            await limiter.acquire([demand._replace(cost=46)])
        await refused(limiter, demand)
        assert target.ask("HGETALL", dead) == ["dead", "1"]
