"""Many scopes, most of which nobody uses: on a real server, in virtual time."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import anyio
import pytest

from ratesync.model.quota import Concurrency, Demand, Observation, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.virtual_time import VirtualClock, run_virtual
from tests.redis.virtual_server import VirtualServer, workers
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.slow

IDLE = 3_000
AT_ONCE = 200
SEEN = 4_000


def demands(number: int) -> list[Demand]:
    scope = Scope("acme", f"connection {number}")
    return [Demand(scope, Rate(5, per=2)), Demand(scope, Concurrency(3))]


async def call(limiter: RedisLimiter, number: int) -> None:
    permit = await limiter.acquire(demands(number))
    await anyio.sleep(0.01)
    limiter.done(permit, Observation())


async def call_many(limiter: RedisLimiter, numbers: range) -> None:
    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(call, limiter, number)


def table_sizes(limiter: RedisLimiter) -> list[int]:
    """Of all that a client keeps by scope."""
    pumps: Any = getattr(limiter, "_pumps")  # noqa: B009  what it keeps shows nowhere else
    book = pumps["acme"].root.book
    root = pumps["acme"].root
    tables: list[Sized] = [book.lanes, book.buckets, root.granted, root.dirty, root.spare, root.stocked, root.new_holds]
    return [len(table) for table in tables]


def test_idle_scopes_ask_the_server_nothing(shared_valkey: Valkey) -> None:
    server = VirtualServer(shared_valkey.port, VirtualClock())

    async def main() -> None:
        async with workers(server) as (limiter,):
            for start in range(0, IDLE, AT_ONCE):
                await call_many(limiter, range(start, start + AT_ONCE))
            assert max(table_sizes(limiter)) > AT_ONCE  # they are known
            await anyio.sleep(10)  # what ended is told
            before = server.exchanges
            await anyio.sleep(3_600)
            assert server.exchanges == before

    run_virtual(main)
    server.close()


def test_scopes_that_were_used_once_do_not_stay(shared_valkey: Valkey) -> None:
    """Each second others come. A scope is kept for the window, and some seconds after its last use."""
    server = VirtualServer(shared_valkey.port, VirtualClock())
    sizes = list[list[int]]()

    async def main() -> None:
        async with workers(server) as (limiter,):
            for start in range(0, SEEN, AT_ONCE):
                await call_many(limiter, range(start, start + AT_ONCE))
                await anyio.sleep(1)
                sizes.append(table_sizes(limiter))

    run_virtual(main)
    server.close()
    # All that came within ten seconds, with two buckets each; half of all that came would be more.
    assert max(max(size) for size in sizes) <= 2 * 10 * AT_ONCE
