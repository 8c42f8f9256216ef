from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from ratesync.errors import AnswerLost, CallTimeout, ConfigurationError, NotSent, ProviderError
from ratesync.http import Account, AccountCallers, AddressGuard, Bearer, HttpCaller, QueryKey, fast_transport
from tests.servers.fault_server import FaultServer, RecordedRequest
from tests.servers.replies import answer, hang, head, json_answer, raw, redirect, reset_before_answer

CANARY = "s3cr3t-canary"

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture
async def caller(fault_server: FaultServer) -> AsyncIterator[HttpCaller]:
    async with HttpCaller(fault_server.url, transport=fast_transport()) as caller:
        yield caller


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ratesync\[fast\]'"):
        fast_transport()


def test_on_trio_the_error_says_what_to_do(fault_server: FaultServer) -> None:
    async def call() -> None:
        async with HttpCaller(fault_server.url, transport=fast_transport()) as caller:
            await caller.send("GET", "/")

    with pytest.raises(ConfigurationError, match="on asyncio only"):
        anyio.run(call, backend="trio")
    assert fault_server.requests == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_request_is_repeated_when_a_kept_connection_breaks(fault_server: FaultServer, method: str) -> None:
    """Aiohttp by itself would: then a "412: exists already" could be about our own write."""
    fault_server.script("/", json_answer({}), reset_before_answer)

    async def call() -> None:
        async with HttpCaller(fault_server.url, transport=fast_transport()) as caller:
            await caller.send(method, "/")
            with pytest.raises(AnswerLost):
                await caller.send(method, "/")

    anyio.run(call)
    assert len(fault_server.requests) == 2


@on_asyncio
@pytest.mark.anyio
async def test_nothing_of_httpx_is_made_for_a_call(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a caller nor by those of an adapter's accounts."""
    fault_server.script("/", json_answer({"a": 1}))
    accounts = AccountCallers(Account(), fault_server.url, transport=fast_transport())
    callers = [HttpCaller(fault_server.url, transport=fast_transport()), accounts.caller("one")]
    for kind in (httpx.Request, httpx.Response, httpx.URL):
        monkeypatch.setattr(kind, "__init__", None)
    for caller in callers:
        answer = await caller.send("PATCH", "/", params={"q": "a b"}, json={}, auth=Bearer(CANARY))
        assert answer.json() == {"a": 1}
        await caller.aclose()
    await accounts.aclose()


def as_it_came(request: RecordedRequest) -> tuple[Any, ...]:
    headers = {pair for pair in request.headers if pair[0] != "content-length" or pair[1] != "0"}
    return request.method, request.target, request.body, headers


@on_asyncio
@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [{}, {"json": {"name": "Ада"}}, {"content": b"a=1"}], ids=["none", "json", "bytes"])
async def test_what_is_sent_is_what_httpx_sends(
    fault_server: FaultServer, caller: HttpCaller, method: str, body: dict[str, Any]
) -> None:
    """To the byte of the path: httpx-aiohttp undoes its encoding, and ``%2e%2e`` would lead to another record."""
    async with HttpCaller(fault_server.url) as stock:
        for sender in (stock, caller):
            for auth in (None, Bearer(CANARY), QueryKey(CANARY)):
                target = "/a%2Fb/%2e%2e/%7Ex?q=%2B+%41&e=&m='"
                await sender.send(method, target, headers={"If-Match": '"1"'}, auth=auth, **body)
    wanted, found = fault_server.requests[:3], fault_server.requests[3:]
    assert list(map(as_it_came, found)) == list(map(as_it_came, wanted))


@on_asyncio
@pytest.mark.anyio
async def test_a_large_body_is_sent_whole_and_without_a_warning(fault_server: FaultServer, caller: HttpCaller) -> None:
    body = bytes(range(256)) * 10_000
    assert (await caller.send("POST", "/", content=body)).status == 404
    assert fault_server.requests[0].body == body


@on_asyncio
@pytest.mark.anyio
async def test_no_free_connection_in_time_is_not_sent(fault_server: FaultServer) -> None:
    fault_server.script("/hang", hang)
    async with HttpCaller(fault_server.url, transport=fast_transport(max_connections=1), timeout=1.2) as caller:

        async def occupy() -> None:
            with pytest.raises(CallTimeout):
                await caller.send("POST", "/hang", json={})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(occupy)
            await anyio.sleep(0.05)
            with pytest.raises(NotSent, match="ConnectionTimeoutError"):
                await caller.send("POST", "/never", json={})
    assert fault_server.received("/never") == []


@on_asyncio
@pytest.mark.anyio
async def test_a_loop_that_was_blocked_sends_on_no_connection_that_was_closed_meanwhile(
    fault_server: FaultServer, caller: HttpCaller
) -> None:
    """A POST on it would be lost, and nobody could tell what became of it. httpx's own transport looks, too."""
    fault_server.script("/", raw(head(200, {"content-length": "2"}) + b"{}"))
    for _ in range(5):
        assert (await caller.send("POST", "/", json={})).status == 200
        time.sleep(0.05)  # noqa: ASYNC251  that is the point
    assert len(fault_server.requests) == 5


@on_asyncio
@pytest.mark.anyio
async def test_a_pool_that_is_closed_sends_nothing(fault_server: FaultServer) -> None:
    accounts = AccountCallers(Account(), fault_server.url, transport=fast_transport())
    caller = accounts.caller("one")
    await caller.send("GET", "/")
    await caller.aclose()
    await accounts.caller("two").send("GET", "/")  # that one has the pool still
    await accounts.aclose()
    with pytest.raises(NotSent, match="closed"):
        await accounts.caller("two").send("GET", "/")
    assert len(fault_server.requests) == 2


@on_asyncio
@pytest.mark.anyio
async def test_nothing_private_is_in_an_error_or_logged(
    fault_server: FaultServer, caller: HttpCaller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fault_server.script("/broken", raw(b"HTTP/1.1 200 " + CANARY.encode() + b"\r\nbad header\r\n\r\n"))
    fault_server.script("/away", redirect(f"https://evil.example/?t={CANARY}"))
    fault_server.script("/good", answer(200, b"{}", {"set-cookie": f"a={CANARY}"}))
    for path in ("/broken", "/away"):
        with pytest.raises(ProviderError) as caught:
            await caller.send("GET", f"{path}?api_key={CANARY}", headers={"X-Key": CANARY})
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None
    await caller.send("GET", f"/good?api_key={CANARY}", headers={"X-Key": CANARY})
    assert CANARY not in caplog.text


@on_asyncio
@pytest.mark.anyio
async def test_the_environment_is_not_asked_for_a_proxy_or_a_password(
    fault_server: FaultServer, caller: HttpCaller, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login ada password {CANARY}")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert (await caller.send("GET", "/")).status == 404
    assert fault_server.requests[0].header("authorization") is None


@on_asyncio
@pytest.mark.anyio
async def test_a_client_of_the_host_s_may_be_over_it_too(fault_server: FaultServer) -> None:
    fault_server.script("/", json_answer({"a": 1}))
    transport = fast_transport(guard=AddressGuard(["127.0.0.1"]))
    async with httpx.AsyncClient(base_url=fault_server.url, transport=transport) as client:
        assert (await client.get("/")).json() == {"a": 1}
        assert (await HttpCaller(client=client).send("GET", "/")).json() == {"a": 1}
