"""Waiting at the server for an entry of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.redis.server.lua import Script
from ratesync.redis.server.server import RedisServer
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio

RING = Script.of("ring", "return redis.call('XADD', KEYS[1], '*', 'a', 'b')")
_numbers = count()


@pytest.fixture
async def server(shared_valkey: Valkey) -> AsyncIterator[RedisServer]:
    server = RedisServer.from_url(shared_valkey.url, prefix=f"listening{next(_numbers)}")
    await server.open()
    yield server
    await server.close()


@pytest.fixture
def key(server: RedisServer) -> str:
    return f"{server.prefix}:bell"


async def test_what_is_there_already_is_heard_at_once(server: RedisServer, key: str) -> None:
    first = (await server.run(RING, [key], [])).decode()
    second = (await server.run(RING, [key], [])).decode()
    with anyio.fail_after(10):
        assert await server.listen(key, "0", None) == second
        assert await server.listen(key, first, None) == second


async def test_all_who_listen_hear_over_one_connection(server: RedisServer, key: str, shared_valkey: Valkey) -> None:
    heard: list[str | None] = []

    async def listen() -> None:
        heard.append(await server.listen(key, "0", None))

    entry = ""
    before = int(shared_valkey.info("stats")["total_connections_received"])
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(listen)
        await anyio.sleep(0.05)
        entry = (await server.run(RING, [key], [])).decode()
    after = int(shared_valkey.info("stats")["total_connections_received"])
    assert heard == [entry] * 50
    assert after - before <= 3, "one that waits, one that calls, and the one that asked"


async def test_nothing_is_heard_until_the_instant(server: RedisServer, key: str) -> None:
    entry = (await server.run(RING, [key], [])).decode()
    assert await server.listen(key, entry, SystemClock().now() + 0.05) is None


async def test_who_stops_listening_disturbs_nobody(server: RedisServer, key: str) -> None:
    heard: list[str | None] = []
    entry = ""

    async def listen() -> None:
        heard.append(await server.listen(key, "0", None))

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            with anyio.move_on_after(0.0001 * number):
                await server.listen(key, "0", None)
        tasks.start_soon(listen)
        await anyio.sleep(0.02)
        entry = (await server.run(RING, [key], [])).decode()
    assert heard == [entry]


async def test_31_a_listener_whose_connection_is_reset_hears_what_came_meanwhile(valkey: Valkey) -> None:
    with CuttingProxy(valkey.port) as proxy:
        server = RedisServer.from_url(proxy.url, timeout=0.3)
        await server.open()
        heard: list[str | None] = []

        async def listen() -> None:
            heard.append(await server.listen("bell", "0", None))

        entry = ""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await anyio.sleep(0.05)
                proxy.cut_all(refuse=True)
                entry = valkey.ask("XADD", "bell", "*", "a", "b")
                proxy.heal()
        assert heard == [entry]
        await server.close()
