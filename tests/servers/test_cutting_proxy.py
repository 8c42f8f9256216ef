"""The proxy does what its names say: otherwise a test that survives it proves nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_server import wait_for


@pytest.fixture
def received() -> list[bytes]:
    return []


@pytest.fixture
def echo_port(received: list[bytes]) -> Iterator[int]:
    """A server that answers each chunk with itself, and remembers it."""

    def converse(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    received.append(data)
                    connection.sendall(data)
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo_port: int) -> Iterator[CuttingProxy]:
    with CuttingProxy(echo_port) as proxy:
        yield proxy


def connect(proxy: CuttingProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def is_refused(proxy: CuttingProxy) -> bool:
    """Whether a connection is reset, be it before or after ``connect`` has returned."""
    try:
        with connect(proxy) as client:
            return _read(client) == b""
    except ConnectionResetError:
        return True


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while len(answer) < len(data):
        answer += client.recv(4096) or pytest.fail("the stream ended")
    return answer


def is_silent(client: socket.socket, seconds: float = 0.05) -> bool:
    client.settimeout(seconds)
    try:
        return not client.recv(4096) and pytest.fail("the stream ended")
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)


def test_everything_passes(proxy: CuttingProxy) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"x" * 200_000) == b"x" * 200_000
    assert proxy.accepted == 1


def test_replies_are_swallowed_after_the_request_has_arrived(proxy: CuttingProxy, received: list[bytes]) -> None:
    with connect(proxy) as client:
        proxy.swallow_replies()
        client.sendall(b"lost")
        assert is_silent(client)
        assert received == [b"lost"]
        proxy.heal()
        assert echoed(client, b"heard") == b"heard"
    assert proxy.replies_swallowed == 1


def test_a_black_hole_passes_nothing_and_ends_nothing(proxy: CuttingProxy, received: list[bytes]) -> None:
    with connect(proxy) as client:
        proxy.black_hole()
        client.sendall(b"lost")
        assert is_silent(client)
        assert received == []
        proxy.heal()
        assert echoed(client, b"heard") == b"heard"


@pytest.mark.parametrize("after", [0, 3])
def test_a_reply_is_cut_in_the_middle(proxy: CuttingProxy, received: list[bytes], after: int) -> None:
    proxy.cut_replies(after=after)
    with connect(proxy) as client:
        client.sendall(b"a reply")
        assert b"".join(iter(lambda: _read(client), b"")) == b"a reply"[:after]
        assert received == [b"a reply"]
    with connect(proxy) as client:
        assert echoed(client, b"whole") == b"whole"


def _read(client: socket.socket) -> bytes:
    try:
        return client.recv(4096)
    except ConnectionError:
        return b""


def test_a_reply_is_cut_in_peace(proxy: CuttingProxy) -> None:
    proxy.cut_replies(after=2, is_rst=False)
    with connect(proxy) as client:
        client.sendall(b"a reply")
        assert client.recv(4096) == b"a "
        assert client.recv(4096) == b""


def test_slices_arrive_whole(proxy: CuttingProxy) -> None:
    proxy.slice()
    with connect(proxy) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert echoed(client, b"0123456789") == b"0123456789"


def test_connections_are_reset_and_refused_until_it_is_healed(proxy: CuttingProxy) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"before") == b"before"
        proxy.cut_all(refuse=True)
        assert _read(client) == b""
    assert is_refused(proxy)
    proxy.heal()
    with connect(proxy) as client:
        assert echoed(client, b"after") == b"after"


def test_what_passes_is_late(proxy: CuttingProxy) -> None:
    with connect(proxy) as client:
        proxy.delay(0.2)
        client.sendall(b"late")
        assert is_silent(client)
        proxy.heal()
        assert client.recv(4096) == b"late"


def test_requests_that_were_held_arrive_late_even_if_the_client_has_gone(
    proxy: CuttingProxy, received: list[bytes]
) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"early") == b"early"
        proxy.hold_requests()
        client.sendall(b"late")
        with connect(proxy) as other:
            assert echoed(other, b"other") == b"other"
    assert received == [b"early", b"other"]
    proxy.release_requests()
    wait_for(lambda: received == [b"early", b"other", b"late"])
