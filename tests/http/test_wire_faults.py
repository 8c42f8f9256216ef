"""What providers and networks do wrong, each on a real connection: cases 46 to 53 of the failure catalogue."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Mapping

import anyio
import pytest
from attrs import Factory, define

from ratesync import Applied, Batch, Capabilities, Operation, OperationState, Outcome, SyncEngine
from ratesync.errors import (
    AnswerLost,
    CallTimeout,
    InvalidResponse,
    NotSent,
    ProviderError,
    ResponseTooLarge,
    UnsafeRedirect,
    Untrusted,
)
from ratesync.http import HttpCaller
from ratesync.memory import MemoryBackend
from ratesync.model.event import Event, LaneParked
from tests.http.conftest import MakeCaller
from tests.servers.certificates import Authority
from tests.servers.fault_server import FaultServer, Reply, Wire
from tests.servers.replies import (
    BROKEN_ON_THE_WIRE,
    OVERSIZE_BODIES,
    UNREADABLE_BODIES,
    hang,
    head,
    raw,
    redirect,
    slow_body,
    slow_headers,
)

pytestmark = pytest.mark.anyio

DEADLINE = 0.3
SLACK = 5.0
"""Seconds that a busy machine may add; without a deadline these calls never end."""
CAP = 4_000_000


async def cut_off(make_caller: MakeCaller, server: FaultServer) -> None:
    caller = make_caller(server.url, timeout=DEADLINE)
    started_at = time.monotonic()
    with pytest.raises(CallTimeout, match=r"within 0\.3 s"):
        await caller.send("POST", "/", json={"a": 1})
    assert DEADLINE * 0.9 < time.monotonic() - started_at < DEADLINE + SLACK
    assert len(server.requests) == 1, "the request was sent once"


async def test_case_46_a_hang_is_cut_at_the_deadline(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    fault_server.script("/", hang)
    await cut_off(make_caller, fault_server)


async def test_case_47_slow_loris_headers_are_cut_at_the_deadline(
    make_caller: MakeCaller, fault_server: FaultServer
) -> None:
    fault_server.script("/", slow_headers())
    await cut_off(make_caller, fault_server)


async def test_case_47_slow_loris_body_is_cut_at_the_deadline(
    make_caller: MakeCaller, fault_server: FaultServer
) -> None:
    fault_server.script("/", slow_body())
    await cut_off(make_caller, fault_server)


@pytest.mark.parametrize("fault", BROKEN_ON_THE_WIRE)
async def test_case_48_a_broken_answer_is_lost_or_invalid(
    make_caller: MakeCaller, fault_server: FaultServer, fault: str
) -> None:
    fault_server.script("/", BROKEN_ON_THE_WIRE[fault])
    with pytest.raises(ProviderError) as caught:
        await make_caller(fault_server.url).send("POST", "/", json={"a": 1})
    assert type(caught.value) is (InvalidResponse if fault == "gzip that is none" else AnswerLost)
    assert len(fault_server.requests) == 1, "a POST is never repeated"


CHUNKS = head(200, {"transfer-encoding": "chunked"}) + b"4;x=y\r\n{}  \r\n0\r\n\r\n"
SIZED = head(200, {"content-length": "10"}) + b'{"id": 12}'
STAGES = [CHUNKS[:end] for end in (1, 12, 17, 30, -22, -19, -15, -12, -7, -5, -4, -2)] + [SIZED[:-10], SIZED[:-1]]


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
async def test_case_48_an_answer_that_ends_at_any_stage_is_lost(
    make_caller: MakeCaller, fault_server: FaultServer, is_reset: bool
) -> None:
    def cut_after(data: bytes) -> Reply:
        async def reply(wire: Wire) -> None:
            await wire.send(data)
            if is_reset:
                await asyncio.sleep(0.01)  # else the reset may overtake the bytes
                wire.reset()

        return reply

    caller = make_caller(fault_server.url)
    for number, stage in enumerate(STAGES):
        fault_server.script(f"/{number}", cut_after(stage))
        with pytest.raises(AnswerLost):
            await caller.send("POST", f"/{number}", json={"a": 1})
        assert len(fault_server.received(f"/{number}")) == 1, "a POST is never repeated"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio httpx leaves a generator of its own behind
async def test_case_48_a_request_that_is_cut_off_half_way_may_have_arrived(make_caller: MakeCaller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        server.settimeout(10)

        def take_half() -> None:
            connection, _ = server.accept()
            connection.recv(1_000)
            connection.close()  # with bytes unread, so it is a reset

        half = threading.Thread(target=take_half)
        half.start()
        with pytest.raises(AnswerLost):
            await make_caller(f"http://127.0.0.1:{server.getsockname()[1]}").send("POST", "/", content=bytes(1_000_000))
        half.join()


async def test_a_kept_connection_that_the_provider_has_closed_is_not_used(
    make_caller: MakeCaller, fault_server: FaultServer
) -> None:
    fault_server.script("/", raw(head(200, {"content-length": "2"}) + b"{}"))
    caller = make_caller(fault_server.url)
    for _ in range(3):
        assert (await caller.send("POST", "/", json={})).status == 200
        await anyio.sleep(0.05)
    assert len(fault_server.requests) == 3


@pytest.mark.parametrize("fault", UNREADABLE_BODIES)
async def test_case_49_an_unreadable_body_is_an_invalid_response(
    make_caller: MakeCaller, fault_server: FaultServer, fault: str
) -> None:
    fault_server.script("/", UNREADABLE_BODIES[fault])
    response = await make_caller(fault_server.url).send("GET", "/")
    with pytest.raises(InvalidResponse):
        response.json()


@pytest.mark.parametrize("fault", OVERSIZE_BODIES)
async def test_case_50_an_oversize_answer_is_refused_within_twice_its_cap(
    make_caller: MakeCaller, fault_server: FaultServer, fault: str
) -> None:
    """Finding F6: 194 KB of gzip became 203 MB of memory."""
    fault_server.script("/", OVERSIZE_BODIES[fault])
    caller = make_caller(fault_server.url, max_response_bytes=CAP)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(InvalidResponse if fault == "nested gzip" else ResponseTooLarge):
            await caller.send("GET", "/")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before <= 2 * CAP
    assert fault_server.bytes_sent < 20 * CAP, "the rest was not waited for"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_case_51_nothing_goes_to_another_origin(
    make_caller: MakeCaller, fault_server: FaultServer, other_origin: FaultServer, status: int, method: str
) -> None:
    """Finding F7: httpx would take `x-api-key` and the body of a 307 along. The clients here are set to follow."""
    fault_server.script("/", redirect(other_origin.url + "/", status))
    body = {"name": "Ada"} if method == "POST" else None
    with pytest.raises(UnsafeRedirect, match="nothing was sent there") as caught:
        await make_caller(fault_server.url).send(
            method, "/", json=body, headers={"Authorization": "Bearer x", "X-Api-Key": "x"}
        )
    assert other_origin.requests == []
    assert other_origin.url not in str(caught.value)


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "//127.0.0.1:1/", "http://[::1]/"])
async def test_case_52_a_redirect_to_an_inner_address_is_refused(
    make_caller: MakeCaller, fault_server: FaultServer, location: str
) -> None:
    fault_server.script("/", redirect(location, 302))
    with pytest.raises(UnsafeRedirect):
        await make_caller(fault_server.url).send("GET", "/")


async def test_case_52_a_redirect_from_https_to_http_is_refused(
    make_caller: MakeCaller, tls_server: FaultServer, authority: Authority
) -> None:
    tls_server.script("/", redirect(tls_server.url.replace("https:", "http:") + "/"))
    with pytest.raises(UnsafeRedirect):
        await make_caller(tls_server.url, tls=authority.client()).send("GET", "/")
    assert len(tls_server.requests) == 1


@pytest.mark.parametrize(
    "fault", ["expired_tls_server", "wrong_host_tls_server", "reset_handshake_server", "tls_server"]
)
async def test_case_53_who_cannot_be_trusted_is_sent_nothing(
    make_caller: MakeCaller, request: pytest.FixtureRequest, authority: Authority, fault: str
) -> None:
    server: FaultServer = request.getfixturevalue(fault)
    trusting = fault != "tls_server"  # that one's certificate is in order, but of an authority nobody knows
    caller = make_caller(server.url, tls=authority.client() if trusting else None)
    with pytest.raises(Untrusted) as caught:
        await caller.send("POST", "/", json={}, headers={"Authorization": "Bearer x"})
    assert server.requests == []
    if fault == "expired_tls_server":
        assert "certificate has expired" in str(caught.value)


@define
class OverHttp:
    """The smallest adapter."""

    caller: HttpCaller
    name: str = "acme"
    capabilities: Capabilities = Factory(Capabilities)

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        await self.caller.send("POST", "/", json={})
        return {operation.id or "": Applied() for operation in batch.operations}


@pytest.mark.parametrize("fault", ["expired_tls_server", "wrong_host_tls_server", "reset_handshake_server"])
async def test_case_53_who_cannot_be_trusted_is_not_asked_again_for_ten_minutes(
    make_caller: MakeCaller, request: pytest.FixtureRequest, authority: Authority, fault: str
) -> None:
    """With the whole engine, in real time: the instant until which it waits is what it says."""
    server: FaultServer = request.getfixturevalue(fault)
    provider = OverHttp(make_caller(server.url, tls=authority.client()))
    alarmed = anyio.Event()
    alarms: list[LaneParked] = []

    def listen(event: Event) -> None:
        if isinstance(event, LaneParked):
            alarms.append(event)
            alarmed.set()

    async with SyncEngine(backend=MemoryBackend(), providers=[provider], observers=[listen]) as engine:
        ticket = await engine.submit(Operation.upsert("acme", "contacts", "1", {"n": 1}))
        with anyio.fail_after(10):
            await alarmed.wait()
        assert not await engine.drain(timeout=0.05)
        status = await ticket.status()
    assert [alarm.reason for alarm in alarms] == ["untrusted"]
    assert alarms[0].until - alarms[0].at == pytest.approx(600)
    assert server.url in alarms[0].detail
    assert (status.state, status.attempts) == (OperationState.AVAILABLE, 0)
    assert server.requests == []


async def test_a_trusted_connection_is_used(
    make_caller: MakeCaller, tls_server: FaultServer, authority: Authority
) -> None:
    assert (await make_caller(tls_server.url, tls=authority.client()).send("GET", "/")).status == 404


async def test_a_refused_connection_is_not_sent(make_caller: MakeCaller) -> None:
    with FaultServer() as gone:
        pass
    with pytest.raises(NotSent, match=r"no request reached http://127\.0\.0\.1"):
        await make_caller(gone.url).send("POST", "/", json={})
