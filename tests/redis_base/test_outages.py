"""Servers and networks that go away and come back. The numbers are those of the catalogue of failures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.model.stored import Write
from ratesync.model.work import Durability
from ratesync.redis.errors import NewerLayout, NotReplicated, ServerAway
from ratesync.redis.server.lua import ABSENT, Script
from ratesync.redis.server.server import RedisServer
from ratesync.redis.state import RedisStateStore
from tests.servers.certificates import Authority
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.fixtures import running_valkey
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_sentinel import WatchedValkey, primary_port
from tests.servers.valkey_server import Valkey, free_port, wait_for
from tests.servers.valkey_tls import TlsFront

pytestmark = pytest.mark.anyio

ADD = Script.of("add", "return redis.call('SADD', KEYS[1], ARGV[1])")
"""Idempotent, as all scripts here are: a member is added once."""
HELD = Script.of("held", "return redis.call('SMEMBERS', KEYS[1])", is_read=True)
PAIR = Script.of("pair", "redis.call('SADD', KEYS[1] .. ':twin', ARGV[1]) return redis.call('SADD', KEYS[1], ARGV[1])")
"""Writes a key that it does not declare, as the scripts of the queue do."""
IN_TIME = 20.0


def soon(seconds: float = IN_TIME) -> float:
    return SystemClock().now() + seconds


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[CuttingProxy]:
    with CuttingProxy(valkey.port) as proxy:
        yield proxy


async def through(proxy: CuttingProxy) -> RedisServer:
    server = RedisServer.from_url(proxy.url, timeout=0.3)
    await server.open()
    await server.run(ADD, ["loaded"], [0])  # the script is known, so that one request is one answer
    return server


async def test_20_a_restart_with_a_log_loses_nothing_and_callers_wait_it_out(durable_valkey: Valkey) -> None:
    durable_valkey.options = ("--appendfsync", "always")
    durable_valkey.kill()
    durable_valkey.start()
    server = RedisServer.from_url(durable_valkey.url, timeout=0.5)
    await server.open()
    assert server.durability is Durability.FSYNC
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(partial(server.run, ADD, ["set"], [number], until=soon()))
            if number == 9:
                await anyio.to_thread.run_sync(durable_valkey.kill)
                tasks.start_soon(partial(anyio.to_thread.run_sync, durable_valkey.start))
    assert len(await server.run(HELD, ["set"], [])) == 20
    await server.close()


@pytest.mark.parametrize("listens", [True, False], ids=["idle", "calling"])
async def test_21_a_server_that_comes_back_without_its_data_is_noticed(
    valkey: Valkey, caplog: pytest.LogCaptureFixture, *, listens: bool
) -> None:
    """By a process that calls while the server is away, and by one that only listens."""
    server = RedisServer.from_url(valkey.url, timeout=0.5)
    await server.open()
    assert await server.run(ADD, ["set"], [1]) == 1
    async with anyio.create_task_group() as tasks:
        if listens:
            tasks.start_soon(server.listen, "stream", "0", None)
            await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(valkey.kill)
        if not listens:
            tasks.start_soon(partial(server.run, ADD, ["set"], [2], until=soon()))
        await anyio.sleep(0.1)
        assert "lost its data" not in caplog.text
        await anyio.to_thread.run_sync(valkey.start)
        with anyio.fail_after(IN_TIME):
            while "lost its data" not in caplog.text:
                await server.run(ADD, ["set"], [3], until=soon())
        if listens:
            tasks.cancel_scope.cancel()
    assert b"1" not in await server.run(HELD, ["set"], [])
    assert caplog.text.count("lost its data") == 1
    await server.close()


async def test_23_a_server_that_is_loading_its_data_is_waited_for(durable_valkey: Valkey) -> None:
    fill = Script.of("fill", "for number = 1, ARGV[1] do redis.call('SADD', KEYS[1], number) end")
    server = RedisServer.from_url(durable_valkey.url, timeout=0.5)
    await server.open()
    assert server.durability is Durability.FSYNC_1S
    await server.run(fill, ["set"], [15_000])
    wait_for(lambda: durable_valkey.info("persistence")["aof_pending_bio_fsync"] == "0")
    durable_valkey.kill()
    durable_valkey.options = ("--key-load-delay", "30")
    durable_valkey.start(loads=True)
    # A server that is loading seldom looks at its clients, so an answer may also come too late to be one.
    with pytest.raises(ServerAway, match=r"LOADING|Timeout"):
        await server.run(ADD, ["set"], ["late"], until=soon(1))
    assert await server.run(ADD, ["set"], ["late"], until=soon()) == 1
    await server.close()


async def test_30_a_network_that_swallows_everything_costs_a_deadline_and_is_left_behind(proxy: CuttingProxy) -> None:
    server = await through(proxy)
    proxy.black_hole()
    with anyio.fail_after(5), pytest.raises(ServerAway) as error:
        await server.run(ADD, ["set"], [1], until=soon(0.5))
    assert error.value.is_unknown
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(server.run, ADD, ["set"], [2], until=soon()))
        await anyio.sleep(0.2)
        proxy.heal()
    assert b"2" in await server.run(HELD, ["set"], [])
    await server.close()


@pytest.mark.parametrize("size", [1, 3])
async def test_31_answers_in_slices_are_put_together(proxy: CuttingProxy, size: int) -> None:
    server = await through(proxy)
    proxy.slice(size)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(partial(server.run, ADD, ["set"], [number], until=soon()))
    assert sorted(await server.run(HELD, ["set"], [], until=soon())) == sorted(b"%d" % number for number in range(20))
    await server.close()


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_31_and_32_answers_that_are_cut_off_are_asked_for_again(proxy: CuttingProxy, after: int) -> None:
    """Whether the answer to the first attempt was lost shows in that of the second: it was added already."""
    server = await through(proxy)
    proxy.cut_replies(1, after=after)
    assert await server.run(ADD, ["set"], [1], until=soon()) == 0
    assert await server.run(HELD, ["set"], []) == [b"1"]
    await server.close()


async def test_31_connections_that_are_reset_are_made_anew(proxy: CuttingProxy) -> None:
    server = await through(proxy)
    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(partial(server.run, ADD, ["set"], [number], until=soon()))
            if number % 10 == 5:
                await anyio.sleep(0.005)
                proxy.cut_all()
    assert len(await server.run(HELD, ["set"], [])) == 30
    await server.close()


async def test_32_a_call_that_gets_no_answer_at_all_tells_that_it_may_have_been_carried_out(
    proxy: CuttingProxy, valkey: Valkey
) -> None:
    server = await through(proxy)
    proxy.swallow_replies()
    with pytest.raises(ServerAway, match="unknown") as error:
        await server.run(ADD, ["set"], [1], until=soon(0.5))
    assert error.value.is_unknown
    assert valkey.ask("SMEMBERS", "set") == ["1"]
    proxy.heal()
    await server.close()


async def test_33_what_was_replicated_survives_a_failover(watched_valkey: WatchedValkey) -> None:
    """The primary is killed while many write; the sentinel makes the replica the primary. Nothing accepted is lost."""
    server = RedisServer.from_url(watched_valkey.url, durability=Durability.REPLICATED, replicas=1, timeout=1)
    await server.open()
    assert server.durability is Durability.REPLICATED
    accepted: list[int] = []

    async def write(first: int) -> None:
        for number in range(first, first + 1000):
            try:
                await server.run(ADD, ["set"], [number], until=soon(0.5))
            except (NotReplicated, ServerAway):
                return
            accepted.append(number)

    async with anyio.create_task_group() as tasks:
        for writer in range(8):
            tasks.start_soon(write, writer * 1000)
        await anyio.sleep(0.3)
        watched_valkey.primary.kill()
    assert len(accepted) > 20
    wait_for(lambda: primary_port(watched_valkey.sentinel) == watched_valkey.replica.port)
    held = {int(member) for member in await server.run(HELD, ["set"], [], until=soon())}
    assert set(accepted) <= held
    # There is no replica any more, so nothing is accepted as replicated.
    with pytest.raises(NotReplicated) as error:
        await server.run(ADD, ["set"], ["alone"], until=soon(1))
    assert error.value.is_unknown
    await server.close()


async def test_33_a_replica_that_stands_still_is_told(watched_valkey: WatchedValkey) -> None:
    watched_valkey.sentinel.kill()
    server = RedisServer.from_url(watched_valkey.primary.url, durability=Durability.REPLICATED, replicas=1, timeout=0.4)
    await server.open()
    await server.run(ADD, ["set"], [1])
    watched_valkey.replica.pause()
    with pytest.raises(NotReplicated) as error:
        await server.run(ADD, ["set"], [2], until=soon(0.6))
    assert error.value.is_unknown
    watched_valkey.replica.resume()
    await server.run(ADD, ["set"], [2], until=soon())
    assert watched_valkey.replica.ask("SISMEMBER", "set", "2") == 1
    await server.close()


async def test_34_a_cluster_is_followed_while_a_slot_moves(valkey_cluster: ValkeyCluster) -> None:
    """MOVED, ASK and TRYAGAIN are between us and the cluster: callers see answers only, and keys move as one."""
    server = RedisServer.from_url(valkey_cluster.url, timeout=1)
    await server.open()
    keys = [f"{{tag{number}}}set" for number in range(12)]
    moving = keys[0]
    target = valkey_cluster.other(moving)
    is_over = False

    async def write(key: str) -> int:
        number = 0
        while not is_over:
            await server.run(PAIR, [key, f"{key}:{ABSENT}"], [number], until=soon())
            number += 1
        written[key] = number
        return number

    written: dict[str, int] = {}
    async with anyio.create_task_group() as tasks:
        for key in keys:
            tasks.start_soon(write, key)
        await anyio.sleep(0.1)
        valkey_cluster.begin_migration(moving, target)
        await anyio.sleep(0.1)
        valkey_cluster.move([moving], target)
        await anyio.sleep(0.1)
        valkey_cluster.migrate(moving, target)
        await anyio.sleep(0.1)
        valkey_cluster.end_migration(moving, target)
        await anyio.sleep(0.2)
        is_over = True
    for key in keys:
        assert len(await server.run(HELD, [key], [], until=soon())) == written[key] > 0
    assert target.ask("SCARD", moving) == target.ask("SCARD", f"{moving}:twin") == written[moving]
    await server.close()


async def test_34_the_values_of_a_store_move_as_one(valkey_cluster: ValkeyCluster) -> None:
    """Its scripts declare all that they touch, and a commit a key that is new with each."""
    server = RedisServer.from_url(valkey_cluster.url, timeout=1, patience=IN_TIME)
    store, values = RedisStateStore(server), "ratesync:{state}:values"
    await store.open()
    is_over = False
    committed = 0

    async def count() -> None:
        nonlocal committed
        while not is_over:
            found = [stored and int(stored.value) for stored in await store.load(["a", "b"])]
            assert found == [committed or None] * 2
            committed += 1
            revisions = await store.commit([Write(key, str(committed).encode(), committed - 1) for key in ("a", "b")])
            assert list(revisions) == [committed] * 2
            assert [stored.revision for stored in await store.scan("")] == [committed] * 2

    target = valkey_cluster.other(values)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        for step in (
            partial(valkey_cluster.begin_migration, values, target),
            partial(valkey_cluster.move, [values], target),
            partial(valkey_cluster.migrate, values, target),
            partial(valkey_cluster.end_migration, values, target),
        ):
            await anyio.sleep(0.2)
            await anyio.to_thread.run_sync(step)
        before = committed
        while committed < before + 3:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        is_over = True
    assert target.ask("HLEN", values) == 2
    await store.close()


async def test_16_a_newer_layout_is_left_alone_by_those_who_are_running(valkey_cluster: ValkeyCluster) -> None:
    """On a cluster the marker is looked at once only, but each part tells its layout in its own slot, too."""
    server = RedisServer.from_url(valkey_cluster.url, timeout=1)
    store, values = RedisStateStore(server), "ratesync:{state}:values"
    await store.open()
    await store.commit([Write("a", b"1")])
    valkey_cluster.owner(values).ask("HSET", values, "\0layout", "2")
    for call in (partial(store.load, ["a"]), partial(store.commit, [Write("a", b"2")]), partial(store.scan, "")):
        with pytest.raises(NewerLayout, match="upgrade"):
            await call()
    valkey_cluster.owner(values).ask("HDEL", values, "\0layout")
    (found,) = await store.scan("")
    assert (found.key, found.value, found.revision) == ("a", b"1", 1)
    await store.close()


async def test_34_a_node_that_is_away_stops_no_other(valkey_cluster: ValkeyCluster) -> None:
    server = RedisServer.from_url(valkey_cluster.url, timeout=0.5)
    await server.open()
    keys = [f"{{tag{number}}}set" for number in range(12)]
    victim = valkey_cluster.nodes[1]
    theirs = next(key for key in keys if valkey_cluster.owner(key) is victim)
    await server.run(ADD, [theirs], [1])
    victim.kill()
    async with anyio.create_task_group() as tasks:
        for key in keys:
            if valkey_cluster.owner(key) is not victim:
                tasks.start_soon(partial(server.run, ADD, [key], [1], until=soon()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(server.run, ADD, [theirs], [2], until=soon()))
        await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(victim.start)
    assert len(await server.run(HELD, [theirs], [], until=soon())) == 2
    await server.close()


async def test_tls_is_checked_and_used(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> None:
    servers = running_valkey(tmp_path_factory.mktemp("tls"))
    valkey = next(servers)
    with TlsFront(valkey.port, authority.good()) as front:
        url = f"rediss://127.0.0.1:{front.port}"
        trusting = RedisServer.from_url(url, ssl_context=authority.client())
        await trusting.open()
        assert await trusting.run(ADD, ["set"], [1]) == 1
        await trusting.close()
        with pytest.raises(ServerAway) as error:
            await RedisServer.from_url(url, patience=0.3).open()
        assert not error.value.is_unknown
    servers.close()  # type: ignore[attr-defined]  # a generator


async def test_the_error_of_a_server_that_is_not_there_names_it_and_no_password() -> None:
    server = RedisServer.from_url(f"redis://ada:secret@127.0.0.1:{free_port()}", patience=0.1)
    with pytest.raises(ServerAway) as caught:
        await server.open()
    place = str(server.address)
    assert place.startswith("redis://127.0.0.1:")
    assert str(caught.value).startswith(f"{place}: open: no success in time (")
    assert "Look whether the server runs" in str(caught.value)
    assert "secret" not in str(caught.value)
