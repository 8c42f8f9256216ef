"""The faults are what their names say: otherwise a test that survives them proves nothing."""

from __future__ import annotations

import gzip
import socket
import ssl
import zlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.servers.certificates import Authority
from tests.servers.fault_server import FaultServer
from tests.servers.replies import (
    BROKEN_ON_THE_WIRE,
    MEBIBYTE,
    NEVER_ENDING,
    OVERSIZE_BODIES,
    UNREADABLE_BODIES,
    answer,
    endless_body,
    gzip_bomb,
    json_answer,
    problem,
    redirect,
    reset_in_body,
    retry_after_values,
)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=5.0) as plain:
        yield plain


def bytes_within(server: FaultServer, path: str, seconds: float) -> bytes:
    """What a raw socket gets for a GET until nothing comes for so long. An end of the stream is an error."""
    port = httpx.URL(server.url).port
    assert port is not None
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        raw.settimeout(seconds)
        while len(received) < 60:
            try:
                received += raw.recv(4096) or pytest.fail("the stream ended")
            except TimeoutError:
                break
    return received


def test_replies_come_in_turn_and_requests_are_recorded(fault_server: FaultServer, client: httpx.Client) -> None:
    url = fault_server.script("/contacts/1", problem(503, "1"), json_answer({"id": "1"}))
    statuses = [client.post(f"{url}?a=b", json={"n": "é"}, headers={"X-Key": "k"}).status_code for _ in range(3)]
    assert statuses == [503, 200, 200]
    assert client.get(fault_server.url + "/unknown").status_code == 404
    request, *others = fault_server.received("/contacts/1")
    assert (request.method, request.target, request.header("x-key")) == ("POST", "/contacts/1?a=b", "k")
    assert request.body == '{"n":"é"}'.encode()
    assert len(others) == 2


def test_a_body_in_chunks_is_recorded_whole(fault_server: FaultServer, client: httpx.Client) -> None:
    url = fault_server.script("/", answer(204))
    client.post(url, content=iter([b"one ", b"two"]))
    assert fault_server.requests[0].body == b"one two"


@pytest.mark.parametrize("fault", sorted(BROKEN_ON_THE_WIRE))
def test_a_broken_answer_is_an_error_to_any_correct_client(
    fault_server: FaultServer, client: httpx.Client, fault: str
) -> None:
    url = fault_server.script("/", BROKEN_ON_THE_WIRE[fault])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.DecodingError)):
        client.get(url)
    assert len(fault_server.requests) == 1


def test_a_reset_is_no_orderly_end(fault_server: FaultServer) -> None:
    fault_server.script("/", reset_in_body)
    with pytest.raises(ConnectionResetError):
        bytes_within(fault_server, "/" + "?" * 60, seconds=5.0)


@pytest.mark.parametrize("fault", sorted(NEVER_ENDING))
def test_a_never_ending_answer_neither_ends_nor_breaks(fault_server: FaultServer, fault: str) -> None:
    fault_server.script("/", NEVER_ENDING[fault])
    received = bytes_within(fault_server, "/", seconds=0.3)
    assert (received == b"") == (fault == "hang")
    assert (b"\r\n\r\n" in received) == (fault == "slow body")


@pytest.mark.parametrize("fault", sorted(UNREADABLE_BODIES))
def test_an_unreadable_body_comes_over_the_wire_in_good_order(
    fault_server: FaultServer, client: httpx.Client, fault: str
) -> None:
    received = client.get(fault_server.script("/", UNREADABLE_BODIES[fault]))
    assert received.status_code == 200
    assert len(received.content) == int(received.headers["content-length"])


def test_an_endless_body_ends_when_the_client_has_enough(fault_server: FaultServer, client: httpx.Client) -> None:
    for body in (endless_body(), OVERSIZE_BODIES["declared 10 GB"]):
        with client.stream("GET", fault_server.script("/", body)) as received:
            assert len(next(received.iter_raw(MEBIBYTE))) == MEBIBYTE
    assert fault_server.bytes_sent >= 2 * MEBIBYTE


@pytest.mark.parametrize(("layers", "most_on_the_wire"), [(1, 10_500), (2, 1_000)])
def test_a_gzip_bomb_is_small_on_the_wire_and_inflates_in_full(
    fault_server: FaultServer, client: httpx.Client, layers: int, most_on_the_wire: int
) -> None:
    with client.stream("GET", fault_server.script("/", gzip_bomb(10 * MEBIBYTE, layers))) as received:
        body = b"".join(received.iter_raw())
    assert len(body) < most_on_the_wire
    for _ in range(layers - 1):
        body = gzip.decompress(body)
    assert len(zlib.decompress(body, wbits=31)) == 10 * MEBIBYTE


def test_a_careless_client_shows_its_key_and_body_to_another_origin(
    fault_server: FaultServer, other_origin: FaultServer, client: httpx.Client
) -> None:
    secret = {"authorization": "Bearer t", "x-api-key": "canary"}
    url = fault_server.script("/", redirect(other_origin.script("/caught", answer(204))))
    client.post(url, headers=secret, json={"n": 1}, follow_redirects=True)
    caught = other_origin.requests[0]
    assert (caught.header("x-api-key"), caught.body) == ("canary", b'{"n":1}')


def test_certificates_are_bad_for_the_reason_they_are_named_for(
    authority: Authority,
    tls_server: FaultServer,
    expired_tls_server: FaultServer,
    wrong_host_tls_server: FaultServer,
    reset_handshake_server: FaultServer,
) -> None:
    with httpx.Client(verify=authority.client(), trust_env=False) as trusting:
        assert trusting.get(tls_server.script("/", json_answer({}))).json() == {}
        with pytest.raises(httpx.ConnectError, match="certificate has expired"):
            trusting.get(expired_tls_server.url)
        with pytest.raises(httpx.ConnectError, match="IP address mismatch"):
            trusting.get(wrong_host_tls_server.url)
        with pytest.raises(httpx.ConnectError) as failure:
            trusting.get(reset_handshake_server.url)
    assert not isinstance(failure.value.__cause__, ssl.SSLCertVerificationError)
    with (
        httpx.Client(trust_env=False) as distrusting,
        pytest.raises(httpx.ConnectError, match="unable to get local issuer"),
    ):
        distrusting.get(tls_server.url)


def test_dates_in_retry_after_have_or_lack_a_zone_as_named() -> None:
    values = retry_after_values(1_800_000_000.0)
    assert values["HTTP date"] == "Fri, 15 Jan 2027 08:00:02 GMT"
    zones = {name: parsedate_to_datetime(value).tzinfo for name, value in values.items() if value and "date" in name}
    assert {name for name, zone in zones.items() if zone is None} == {"date without a zone", "date of an unknown zone"}
