"""What a server says no to, and what callers do to each other. The numbers are those of the catalogue of failures."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from itertools import count
from random import Random

import anyio
import coredis
import pytest

from ratesync.clock import SystemClock
from ratesync.errors import ConfigurationError, ForkedProcess, QueueError
from ratesync.model.work import Durability
from ratesync.redis.errors import (
    AccessRefused,
    KeyClash,
    NewerLayout,
    NotReplicated,
    ServerAway,
    ServerError,
    ServerFull,
    ServerReadsOnly,
)
from ratesync.redis.server.lua import Script
from ratesync.redis.server.server import RedisServer
from ratesync.redis.server.startup import LAYOUT
from tests.servers.valkey_server import Valkey, free_port, wait_for

pytestmark = pytest.mark.anyio

ECHO = Script.of("echo", "return {KEYS[1], ARGV[1], ARGV[2]}")
COUNT_UP = Script.of("count up", "return redis.call('INCR', KEYS[1])")
SET = Script.of("set", "return redis.call('SET', KEYS[1], ARGV[1])")
_numbers = count()


def new_prefix() -> str:
    return f"base{next(_numbers)}"


@pytest.fixture
async def server(shared_valkey: Valkey) -> AsyncIterator[RedisServer]:
    server = RedisServer.from_url(shared_valkey.url, prefix=new_prefix())
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def broken(valkey: Valkey) -> AsyncIterator[RedisServer]:
    """On a server that the test may break."""
    server = RedisServer.from_url(valkey.url, timeout=0.5, patience=0.3)
    await server.open()
    yield server
    await server.close()


def soon(seconds: float) -> float:
    return SystemClock().now() + seconds


async def test_a_script_gets_keys_and_arguments_as_they_are(server: RedisServer) -> None:
    assert await server.run(ECHO, ["k\0é"], [b"\xff\0", 0.1]) == ["k\0é".encode(), b"\xff\0", b"0.1"]
    assert await server.run(ECHO, [b"k"], [2**60, "é"]) == [b"k", b"%d" % 2**60, "é".encode()]


async def test_many_callers_share_few_connections(server: RedisServer, shared_valkey: Valkey) -> None:
    before = int(shared_valkey.info("stats")["total_connections_received"])
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(server.run, ECHO, [f"{number}"], ["", ""])
    after = int(shared_valkey.info("stats")["total_connections_received"])
    assert after - before <= 17, "sixteen, and the one that asked"


async def test_19_down_at_the_start_is_told_within_the_patience() -> None:
    server = RedisServer.from_url(f"redis://127.0.0.1:{free_port()}", patience=0.2)
    with pytest.raises(ServerAway, match="not carried out") as error:
        await server.open()
    assert not error.value.is_unknown
    with pytest.raises(QueueError, match="not open"):
        await server.run(ECHO, ["k"], ["", ""])


async def test_19_a_server_that_comes_late_is_waited_for(valkey: Valkey) -> None:
    valkey.kill()
    server = RedisServer.from_url(valkey.url, patience=20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.open)
        await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(valkey.start)
    assert await server.run(COUNT_UP, ["k"], []) == 1
    await server.close()


async def test_22_a_script_that_was_forgotten_is_sent_again(server: RedisServer, shared_valkey: Valkey) -> None:
    assert await server.run(COUNT_UP, [f"{server.prefix}forgotten"], []) == 1
    shared_valkey.ask("SCRIPT", "FLUSH")
    before = shared_valkey.scripts_run()
    assert await server.run(COUNT_UP, [f"{server.prefix}forgotten"], []) == 2
    assert shared_valkey.scripts_run() - before == 2
    assert await server.run(COUNT_UP, [f"{server.prefix}forgotten"], []) == 3
    assert shared_valkey.scripts_run() - before == 3


async def test_24_a_server_that_became_a_replica_is_asked_until_it_takes_writes(
    broken: RedisServer, valkey: Valkey
) -> None:
    valkey.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(ServerAway, match="READONLY") as error:
        await broken.run(COUNT_UP, ["k"], [])
    assert not error.value.is_unknown
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: broken.run(COUNT_UP, ["k"], [], until=soon(20)))
        await anyio.sleep(0.1)
        valkey.ask("REPLICAOF", "NO", "ONE")
    assert valkey.ask("GET", "k") == "1"


async def test_25_out_of_memory_is_told_and_surely_not_done(broken: RedisServer, valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(ServerFull, match="OOM") as error:
        await broken.run(SET, ["k"], ["v"])
    assert not error.value.is_unknown
    valkey.ask("CONFIG", "SET", "maxmemory", "0")
    assert await broken.run(SET, ["k"], ["v"]) == b"OK"


async def test_26_an_evicting_server_is_warned_of(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    valkey.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server = RedisServer.from_url(valkey.url)
    await server.open()
    await server.close()
    assert "allkeys-lru" in caplog.text
    assert "appendonly" in caplog.text, "nor does it save anything"


async def test_27_a_server_that_cannot_save_is_told(broken: RedisServer, valkey: Valkey) -> None:
    """As with a full disk: the last snapshot failed, and the server was told to refuse writes then."""
    valkey.ask("CONFIG", "SET", "save", "3600 1")
    valkey.folder.joinpath("dump.rdb").mkdir()
    valkey.ask("BGSAVE")
    wait_for(lambda: valkey.info("persistence")["rdb_last_bgsave_status"] != "ok")
    with pytest.raises(ServerReadsOnly, match="MISCONF") as error:
        await broken.run(SET, ["k"], ["v"])
    assert not error.value.is_unknown


async def test_28_a_slow_server_costs_a_caller_no_more_than_its_deadline(broken: RedisServer, valkey: Valkey) -> None:
    valkey.ask("CLIENT", "PAUSE", "60000", "ALL")
    with anyio.fail_after(5), pytest.raises(ServerAway) as error:
        await broken.run(COUNT_UP, ["k"], [], until=soon(0.3))
    assert error.value.is_unknown, "it has the request"


async def test_28_callers_of_a_slow_server_do_not_pile_up(valkey: Valkey) -> None:
    server = RedisServer.from_url(valkey.url, timeout=20)
    await server.open()
    assert await server.run(COUNT_UP, ["k"], []) == 1
    valkey.pause()
    refused = 0

    async def ask() -> None:
        nonlocal refused
        with pytest.raises(ServerAway):
            await server.run(COUNT_UP, ["k"], [], until=soon(0.2))
        refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    valkey.resume()
    assert refused == 100
    assert await server.run(COUNT_UP, ["k"], []) >= 2
    await server.close()
    assert int(valkey.info("stats")["total_connections_received"]) < 40


async def test_29_a_busy_server_is_asked_again_until_it_is_free(broken: RedisServer, valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "busy-reply-threshold", "10")
    endless = Script.of("endless", "while true do end")
    with pytest.raises(ServerAway, match=r"BUSY|Timeout|no success"):
        await broken.run(endless, [], [], until=soon(0.2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: broken.run(COUNT_UP, ["k"], [], until=soon(20)))
        await anyio.sleep(0.2)
        assert valkey.ask("SCRIPT", "KILL") == "OK"
    assert valkey.ask("GET", "k") == "1"


async def test_35_no_room_for_more_connections_is_waited_out(valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "maxclients", "1")
    async with await anyio.connect_tcp("127.0.0.1", valkey.port) as other:
        await other.send(b"PING\r\n")
        await other.receive()
        server = RedisServer.from_url(valkey.url, patience=0.3)
        with pytest.raises(ServerAway) as error:
            await server.open()
        assert not error.value.is_unknown
    await anyio.sleep(0.05)
    await server.open()
    assert await server.run(COUNT_UP, ["k"], []) == 1
    await server.close()


async def test_38_a_key_of_somebody_else_is_told(server: RedisServer, shared_valkey: Valkey) -> None:
    shared_valkey.ask("SET", f"{server.prefix}list", "a text")
    with pytest.raises(KeyClash, match="WRONGTYPE") as error:
        await server.run(Script.of("push", "return redis.call('RPUSH', KEYS[1], 1)"), [f"{server.prefix}list"], [])
    assert not error.value.is_unknown


@pytest.mark.parametrize("theirs", [("SET", "text"), ("HSET", "field", "value")], ids=["text", "hash"])
async def test_38_a_prefix_of_somebody_else_is_found_at_the_start(
    shared_valkey: Valkey, theirs: tuple[str, ...]
) -> None:
    prefix = new_prefix()
    command, *rest = theirs
    shared_valkey.ask(command, f"{prefix}:layout", *rest)
    with pytest.raises(KeyClash, match="prefix"):
        await RedisServer.from_url(shared_valkey.url, prefix=prefix).open()


async def test_a_newer_layout_refuses_this_version(shared_valkey: Valkey) -> None:
    prefix = new_prefix()
    shared_valkey.ask("HSET", f"{prefix}:layout", "layout", str(LAYOUT + 1), "epoch", "e")
    server = RedisServer.from_url(shared_valkey.url, prefix=prefix)
    with pytest.raises(NewerLayout, match="Upgrade"):
        await server.open()
    assert shared_valkey.ask("HGET", f"{prefix}:layout", "layout") == str(LAYOUT + 1)


async def test_39_a_script_that_fails_is_told_and_not_repeated(server: RedisServer, shared_valkey: Valkey) -> None:
    before = shared_valkey.scripts_run()
    with pytest.raises(ServerError, match="refused"):
        await server.run(Script.of("broken", "error('boom')"), [], [])
    assert shared_valkey.scripts_run() - before <= 2, "its name, then its text"


async def test_40_cancelled_callers_mix_up_no_answers(server: RedisServer) -> None:
    random = Random(40)
    wrong, cancelled, answered = 0, 0, 0

    async def ask(number: int) -> None:
        nonlocal wrong, cancelled, answered
        with anyio.move_on_after(random.choice((random.uniform(0, 0.004), 30.0))) as scope:
            answer = await server.run(ECHO, [f"{number}"], ["a", "b"])
            answered += 1
            wrong += answer[0] != b"%d" % number
        cancelled += scope.cancelled_caught

    async def ask_on() -> None:
        nonlocal wrong
        for number in range(300):
            answer = await server.run(ECHO, [f"other{number}"], ["a", "b"])
            wrong += answer[0] != b"other%d" % number

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask_on)
        number = 0
        while cancelled < 300:
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    number += 1
                    group.start_soon(ask, number)
    assert cancelled >= 300
    assert answered > 0, "all were cancelled before they were answered"
    assert wrong == 0


async def test_a_caller_that_was_cancelled_first_has_asked_nothing(server: RedisServer, shared_valkey: Valkey) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await server.run(COUNT_UP, [f"{server.prefix}never"], [])
    await anyio.sleep(0.02)
    assert shared_valkey.ask("EXISTS", f"{server.prefix}never") == 0


async def test_too_few_replicas_are_told_by_the_server(broken: RedisServer, valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(NotReplicated) as error:
        await broken.run(SET, ["k"], ["v"])
    assert not error.value.is_unknown


async def test_a_wrong_password_is_told_and_nobody_is_told_the_password(valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "requirepass", "hunter2")
    for url in (valkey.url, f"redis://:wrong-secret@127.0.0.1:{valkey.port}"):
        server = RedisServer.from_url(url)
        with pytest.raises(AccessRefused) as error:
            await server.open()
        assert "wrong-secret" not in f"{error.value}{error.value!r}{server!r}{vars(server)}"
    server = RedisServer.from_url(f"redis://:hunter2@127.0.0.1:{valkey.port}/3")
    await server.open()
    await server.run(SET, ["k"], ["v"])
    assert "hunter2" not in f"{server!r}{vars(server)}"
    await server.close()


async def test_a_host_may_give_its_own_client(shared_valkey: Valkey) -> None:
    """Also one that makes texts of answers."""
    async with coredis.Redis("127.0.0.1", shared_valkey.port, decode_responses=True) as client:
        server = RedisServer(client, prefix=new_prefix())
        await server.open()
        assert await server.run(ECHO, ["k"], ["é", b"\xff"]) == [b"k", "é".encode(), b"\xff"]
        await server.close()
        assert await client.ping() == "PONG", "it is the host's"


async def test_it_opens_again(shared_valkey: Valkey) -> None:
    server = RedisServer.from_url(shared_valkey.url, prefix=new_prefix())
    for _ in range(2):
        await server.open()
        await server.open()
        await server.close()
        assert await server.run(ECHO, ["k"], ["", ""]) == [b"k", b"", b""]
        await server.close()


async def test_15_a_forked_child_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ForkedProcess):
        await server.run(ECHO, ["k"], ["", ""])


@pytest.mark.parametrize("prefix", ["", "a{b}"])
def test_a_prefix_has_characters_and_no_braces(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        RedisServer.from_url("redis://localhost", prefix=prefix)


@pytest.mark.parametrize("turns", range(8))
async def test_it_opens_again_during_its_close(shared_valkey: Valkey, turns: int) -> None:
    server = RedisServer.from_url(shared_valkey.url, prefix=new_prefix())
    await server.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.close)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        await server.open()
    assert await server.run(ECHO, ["k"], ["", ""]) == [b"k", b"", b""]
    await server.close()
    with pytest.raises(QueueError, match="not open"):
        await server.run(ECHO, ["k"], ["", ""])


async def test_those_who_open_during_a_close_are_counted(shared_valkey: Valkey) -> None:
    """The close lasts, as a call is under way. One of those who open gives up, and so does who closes."""
    server = RedisServer.from_url(shared_valkey.url, prefix=new_prefix())
    await server.open()
    under_way = anyio.Event()
    server.start(under_way.wait)
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as doomed:
        doomed.start_soon(server.close)
        await anyio.wait_all_tasks_blocked()
        doomed.start_soon(server.open)
        tasks.start_soon(server.open)
        tasks.start_soon(server.open)
        await anyio.wait_all_tasks_blocked()
        doomed.cancel_scope.cancel()
        under_way.set()
    await server.close()
    assert await server.run(ECHO, ["k"], ["", ""]) == [b"k", b"", b""]
    await server.close()
    with pytest.raises(QueueError, match="not open"):
        await server.run(ECHO, ["k"], ["", ""])


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1", "redis+sentinel://127.0.0.1/jobs/0"])
async def test_what_takes_the_extra_says_so_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(ConfigurationError, match=r"coredis is not installed: pip install 'ratesync\[redis\]'"):
        RedisServer.from_url(url, durability=Durability.PROCESS)
