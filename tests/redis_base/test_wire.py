"""Connections past the client, on both event loops, and the one of a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.to_thread
import coredis
import pytest
from coredis.credentials import UserPassCredentialProvider

from ratesync.errors import QueueError
from ratesync.redis.queue import pulse as pulse_module
from ratesync.redis.queue.pulse import Pulse
from ratesync.redis.server.address import Address
from ratesync.redis.server.connect import place_of
from ratesync.redis.server.link import bare
from ratesync.redis.server.resp import ReplyError
from ratesync.redis.server.wire import Wire, WireDown
from ratesync.redis.server.wires import OpenWire, wire_opener
from tests.servers.certificates import Authority
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.fixtures import running_valkey
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_sentinel import WatchedValkey
from tests.servers.valkey_server import Valkey
from tests.servers.valkey_tls import TlsFront

pytestmark = pytest.mark.anyio
SECONDS = 5.0


def opener(url: str, **options: object) -> OpenWire:
    """For a single server."""
    return wire_opener(Address.parse(url), SECONDS, options.get("ssl_context"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Valkey, Path]]:
    """A server with users and a socket in the file system, whose path must be short."""
    with TemporaryDirectory(prefix="ratesync-") as folder:
        path = Path(folder) / "socket"
        servers = running_valkey(tmp_path_factory.mktemp("guarded"), options=("--unixsocket", str(path)))
        valkey = next(servers)
        valkey.ask("ACL", "SETUSER", "ada", "on", ">pass:word", "~*", "+@all")
        yield valkey, path
        servers.close()  # type: ignore[attr-defined]  # a generator


async def test_many_tasks_get_each_its_own_answer(shared_valkey: Valkey) -> None:
    async with opener(shared_valkey.url)() as wire:
        found: dict[int, object] = {}

        async def ask(number: int) -> None:
            found[number] = await wire.ask(["ECHO", str(number) * 1000], SECONDS)

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(ask, number)
        assert found == {number: (str(number) * 1000).encode() for number in range(50)}


async def test_an_error_is_raised_where_it_was_asked(shared_valkey: Valkey) -> None:
    async with opener(shared_valkey.url)() as wire:
        with pytest.raises(UnicodeEncodeError):
            await wire.ask(["ECHO", "\ud800"], SECONDS)
        with pytest.raises(ReplyError, match="ERR"):
            await wire.ask(["NONSENSE"], SECONDS)
        assert await wire.ask(["PING"], SECONDS) == b"PONG"


async def test_who_is_cancelled_or_waits_too_long_mixes_up_no_answers(valkey: Valkey) -> None:
    async with opener(valkey.url)() as wire:
        with anyio.move_on_after(0.01):
            await wire.ask(["BLPOP", "nothing", "0.05"], SECONDS)
        with pytest.raises(TimeoutError):
            await wire.ask(["BLPOP", "nothing", "0.2"], 0.1)
        assert await wire.ask(["ECHO", "mine"], SECONDS) == b"mine"
        assert wire.usable


async def is_sent(wire: Wire) -> bool:
    """Whether what is asked of a connection that breaks may have been done."""
    with pytest.raises(WireDown) as error:
        await wire.ask(["PING"], SECONDS)
    assert not wire.usable
    return error.value.is_sent


async def test_a_connection_that_breaks_is_told_to_all_who_wait(cutting_proxy: CuttingProxy) -> None:
    async with opener(cutting_proxy.url)() as wire:
        assert await wire.ask(["PING"], SECONDS) == b"PONG"
        cutting_proxy.cut_replies()
        sent: list[bool] = []

        async def ask() -> None:
            sent.append(await is_sent(wire))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
        assert len(sent) == 3
        assert any(sent)
        assert not await is_sent(wire)


async def test_a_server_that_goes_away_is_noticed_before_it_is_asked(valkey: Valkey) -> None:
    async with opener(valkey.url)() as wire:
        valkey.kill()
        with anyio.fail_after(SECONDS):
            while wire.usable:  # noqa: ASYNC110  it tells nobody
                await anyio.sleep(0.01)
        assert not await is_sent(wire)


async def test_what_is_no_redis_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        async with opener(f"redis://127.0.0.1:{listener.getsockname()[1]}")() as wire:
            assert await is_sent(wire)
        await anyio.to_thread.run_sync(thread.join)


async def test_a_user_a_database_and_a_socket(guarded: tuple[Valkey, Path]) -> None:
    valkey, path = guarded
    for url in (f"redis://ada:pass%3Aword@127.0.0.1:{valkey.port}/3", f"unix://ada:pass%3Aword@{path}?db=3"):
        async with opener(url)() as wire:
            assert await wire.ask(["ACL", "WHOAMI"], SECONDS) == b"ada"
            assert b"db=3" in await wire.ask(["CLIENT", "INFO"], SECONDS)
        pulse = Pulse(Address.parse(url), None)
        assert pulse.ask(b"ACL", b"WHOAMI") == b"ada"
        assert b"db=3" in bytes(pulse.ask(b"CLIENT", b"INFO"))  # type: ignore[call-overload]  # a text
        pulse.close()


async def test_a_wrong_password_is_told_without_it(guarded: tuple[Valkey, Path]) -> None:
    url = f"redis://ada:wrong-secret@127.0.0.1:{guarded[0].port}"
    with pytest.raises(Exception) as error:  # noqa: PT011  trio wraps it
        async with opener(url)():
            pass
    assert str(bare(error.value)).startswith("WRONGPASS")
    assert "wrong-secret" not in str(bare(error.value))
    with pytest.raises(QueueError) as refused:
        Pulse(Address.parse(url), None).ask(b"PING")
    assert "wrong-secret" not in str(refused.value)


async def test_tls_is_checked_and_used(shared_valkey: Valkey, authority: Authority) -> None:
    with TlsFront(shared_valkey.port, authority.good()) as front:
        url = f"rediss://127.0.0.1:{front.port}"
        async with opener(url, ssl_context=authority.client())() as wire:
            assert await wire.ask(["ECHO", "x" * 100_000], SECONDS) == b"x" * 100_000
        pulse = Pulse(Address.parse(url), authority.client())
        assert await anyio.to_thread.run_sync(pulse.ask, b"PING") == b"PONG"
        pulse.close()
        distrusting = Pulse(Address.parse(url), None)
        with pytest.raises(QueueError, match="SSLCertVerificationError"):
            await anyio.to_thread.run_sync(distrusting.ask, b"PING")


def test_a_thread_finds_the_primary_and_the_node(watched_valkey: WatchedValkey, valkey_cluster: ValkeyCluster) -> None:
    pulse = Pulse(Address.parse(watched_valkey.url), None)
    assert pulse.ask(b"SET", b"k", b"v") == b"OK"
    assert watched_valkey.primary.ask("GET", "k") == "v"
    pulse.close()
    pulse = Pulse(Address.parse(valkey_cluster.url), None)
    for number in range(6):
        assert pulse.ask(b"SET", b"{tag%d}k" % number, b"v") == b"OK"
    pulse.close()


def test_a_thread_finds_a_node_that_answers(valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one node is dead, and where one stands still."""
    monkeypatch.setattr(pulse_module, "SECONDS", 0.3)
    dead, still, alive = valkey_cluster.nodes
    theirs = next(b"{tag%d}k" % number for number in count() if valkey_cluster.owner(f"{{tag{number}}}k") is alive)
    dead.kill()
    pulse = Pulse(Address.parse(valkey_cluster.url), None)
    assert pulse.ask(b"SET", theirs, b"v") == b"OK"
    pulse.close()
    still.pause()
    pulse = Pulse(Address.parse(valkey_cluster.url), None)
    assert pulse.ask(b"SET", theirs, b"v") == b"OK"
    pulse.close()
    still.resume()


def test_a_thread_that_may_not_use_the_database_is_told(shared_valkey: Valkey) -> None:
    """It would write into another one."""
    pulse = Pulse(Address.parse(f"{shared_valkey.url}/9999"), None)
    with pytest.raises(QueueError, match="no sign of life was given: ERR"):
        pulse.ask(b"PING")


async def test_a_hosts_client_tells_where_its_server_is(guarded: tuple[Valkey, Path], authority: Authority) -> None:
    valkey, path = guarded
    login: dict[str, Any] = {"username": "ada", "password": "pass:word", "db": 2}
    for client in (
        coredis.Redis("127.0.0.1", valkey.port, **login),
        coredis.Redis(unix_socket_path=str(path), **login),
    ):
        place = place_of(client)
        assert place is not None
        pulse = Pulse(*place)
        assert b"db=2" in bytes(pulse.ask(b"CLIENT", b"INFO"))  # type: ignore[call-overload]  # a text
        pulse.close()
    context = authority.client()
    place = place_of(coredis.Redis("127.0.0.1", 1, ssl_context=context))
    assert place is not None
    assert (place[0].is_tls, place[1]) == (True, context)
    fetched = coredis.Redis("127.0.0.1", 1, credential_provider=UserPassCredentialProvider("ada", "x"))
    assert place_of(fetched) is None
