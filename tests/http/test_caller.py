from __future__ import annotations

import gzip
import json
import logging
import math
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from ratesync.errors import (
    AnswerLost,
    CallTimeout,
    ConfigurationError,
    InvalidPayload,
    InvalidResponse,
    NotSent,
    ProviderError,
    ResponseTooLarge,
    UnsafeRedirect,
)
from ratesync.http import HttpCaller, Response
from ratesync.http.exchange import timeouts
from tests.http.conftest import MakeCaller
from tests.servers.fault_server import FaultServer, Wire
from tests.servers.replies import answer, hang, head, json_answer, raw, redirect, slow_body

pytestmark = pytest.mark.anyio

CANARY = "s3cr3t-canary"


async def test_a_call_sends_what_it_is_told_and_reads_the_answer(
    make_caller: MakeCaller, fault_server: FaultServer
) -> None:
    fault_server.script("/contacts/1", json_answer({"name": "Ада"}, 201, {"etag": '"1"'}))
    response = await make_caller(fault_server.url).send(
        "PUT", "/contacts/1", params={"q": "a b"}, json={"name": "Ада"}, headers={"If-Match": '"0"'}
    )
    (request,) = fault_server.requests
    assert (request.method, request.target) == ("PUT", "/contacts/1?q=a%20b")
    assert json.loads(request.body) == {"name": "Ада"}
    assert request.header("content-type") == "application/json"
    assert request.header("accept") == "application/json"
    assert request.header("accept-encoding") == "identity"
    assert request.header("if-match") == '"0"'
    assert (response.status, response.headers["etag"], response.json()) == (201, '"1"', {"name": "Ада"})
    assert response.is_success


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 429, 500, 503])
async def test_every_status_is_an_answer(make_caller: MakeCaller, fault_server: FaultServer, status: int) -> None:
    fault_server.script("/", answer(status, b"" if status in {204, 304} else b"text"))
    response = await make_caller(fault_server.url).send("DELETE", "/")
    assert (response.status, response.is_success) == (status, status < 300)


async def test_connections_are_used_again(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    peers: set[object] = set()

    async def note_peer(wire: Wire) -> None:
        peers.add(wire.writer.get_extra_info("peername"))
        await json_answer({})(wire)

    fault_server.script("/", note_peer)
    caller = make_caller(fault_server.url)
    for _ in range(5):
        await caller.send("POST", "/", json={"n": 1})
    assert len(peers) == 1


async def test_gzip_is_undone_though_it_was_not_asked_for(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    fault_server.script("/", answer(200, gzip.compress(b'{"a": 1}'), {"content-encoding": "GZIP"}))
    response = await make_caller(fault_server.url).send("GET", "/")
    assert response.json() == {"a": 1}


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "identity, br"])
async def test_case_50_other_and_nested_encodings_are_refused(
    make_caller: MakeCaller, fault_server: FaultServer, encoding: str
) -> None:
    fault_server.script("/", answer(200, gzip.compress(b"{}"), {"content-encoding": encoding}))
    with pytest.raises(InvalidResponse, match="not asked for"):
        await make_caller(fault_server.url).send("GET", "/")


async def test_a_body_of_exactly_the_limit_is_read(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    caller = make_caller(fault_server.url, max_response_bytes=100_000)
    fault_server.script("/fits", answer(200, b"x" * 100_000))
    fault_server.script("/chunked", raw(chunked(b"x" * 100_001)))
    assert len((await caller.send("GET", "/fits")).body) == 100_000
    with pytest.raises(ResponseTooLarge, match="100000 bytes"):
        await caller.send("GET", "/chunked")


def chunked(body: bytes) -> bytes:
    return head(200, {"transfer-encoding": "chunked"}) + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


async def test_cookies_of_one_call_do_not_reach_the_next(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    fault_server.script("/", json_answer({}, 200, {"set-cookie": f"session={CANARY}; Path=/"}))
    caller = make_caller(fault_server.url)
    for _ in range(3):
        await caller.send("GET", "/")
    assert [request.header("cookie") for request in fault_server.requests] == [None, None, None]
    await caller.send("GET", "/", headers={"Cookie": "mine=1"})
    assert fault_server.requests[-1].header("cookie") == "mine=1"


async def test_a_get_follows_redirects_within_its_origin(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    for step, target in (("/1", "/2"), ("/2", fault_server.url + "/3"), ("/3", "4?x=1")):
        fault_server.script(step, redirect(target, 302))
    fault_server.script("/4", json_answer({"at": "last"}))
    response = await make_caller(fault_server.url).send("GET", "/1", headers={"Authorization": "Bearer x"})
    assert response.json() == {"at": "last"}
    assert [request.target for request in fault_server.requests] == ["/1", "/2", "/3", "/4?x=1"]
    assert {request.header("authorization") for request in fault_server.requests} == {"Bearer x"}


async def test_redirects_in_a_circle_end(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    fault_server.script("/", redirect("/"))
    with pytest.raises(UnsafeRedirect, match="more than 3 times"):
        await make_caller(fault_server.url).send("GET", "/")
    assert len(fault_server.requests) == 4


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_not_redirected(make_caller: MakeCaller, fault_server: FaultServer, method: str) -> None:
    fault_server.script("/", redirect("/elsewhere", 308))
    with pytest.raises(UnsafeRedirect, match="only a GET"):
        await make_caller(fault_server.url).send(method, "/", json={})
    assert fault_server.received("/elsewhere") == []


async def test_a_redirect_without_a_place_is_an_answer(make_caller: MakeCaller, fault_server: FaultServer) -> None:
    fault_server.script("/", answer(302))
    assert (await make_caller(fault_server.url).send("POST", "/")).status == 302


async def test_a_link_to_a_next_page_is_followed_at_the_origin_only(
    make_caller: MakeCaller, fault_server: FaultServer, other_origin: FaultServer
) -> None:
    fault_server.script("/next", json_answer({}))
    caller = make_caller(fault_server.url + "/v1")
    assert (await caller.send("GET", f"{fault_server.url}/next?page=2")).status == 200
    with pytest.raises(UnsafeRedirect):
        await caller.send("GET", f"{other_origin.url}/next?page=2")
    assert other_origin.requests == []


CORRECT: dict[str, Any] = {"method": "POST", "target": "/"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"method": "get"}, ConfigurationError),
        ({"method": "GET / HTTP/1.1\r\nX: y"}, ConfigurationError),
        ({"target": "/a b"}, ConfigurationError),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, ConfigurationError),
        ({"headers": {"Host": "evil.example"}}, ConfigurationError),
        ({"json": {"n": math.nan}}, InvalidPayload),
        ({"target": "https://evil.example/"}, UnsafeRedirect),
    ],
)
async def test_a_request_that_cannot_be_made_is_not_sent(
    make_caller: MakeCaller, fault_server: FaultServer, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await make_caller(fault_server.url).send(**{**CORRECT, **arguments})
    assert fault_server.requests == []


async def test_cancelling_a_call_leaves_the_caller_fit_for_more(
    make_caller: MakeCaller, fault_server: FaultServer
) -> None:
    caller = make_caller(fault_server.url)
    for path, reply in (("/hang", hang), ("/drip", slow_body()), ("/good", json_answer({"ok": True}))):
        fault_server.script(path, reply)
    for path in ("/hang", "/drip"):
        for _ in range(12):  # more than the pool has connections
            with anyio.move_on_after(0.03) as scope:
                await caller.send("GET", path)
            assert scope.cancelled_caught
    assert (await caller.send("GET", "/good")).json() == {"ok": True}


async def test_a_closed_caller_sends_nothing(fault_server: FaultServer) -> None:
    async with HttpCaller(fault_server.url) as caller:
        await caller.send("GET", "/")
    with pytest.raises(NotSent, match="closed"):
        await caller.send("GET", "/")
    assert len(fault_server.requests) == 1


async def test_a_client_of_the_host_s_is_left_open_and_its_end_is_noticed(fault_server: FaultServer) -> None:
    async with httpx.AsyncClient(base_url=fault_server.url, trust_env=False) as client:
        async with HttpCaller(client=client) as caller:
            await caller.send("GET", "/")
        assert not client.is_closed
    with pytest.raises(NotSent, match="closed"):
        await caller.send("GET", "/")


async def test_a_host_client_s_own_headers_and_authentication_apply(fault_server: FaultServer) -> None:
    auth = httpx.BasicAuth("ada", "correct horse")
    settings: dict[str, Any] = {
        "headers": {"X-Team": "1", "User-Agent": "host"},
        "params": {"tenant": "7"},
        "auth": auth,
    }
    async with httpx.AsyncClient(base_url=fault_server.url, trust_env=False, **settings) as client:
        await HttpCaller(client=client).send("GET", "/")
    (request,) = fault_server.requests
    assert request.target == "/?tenant=7"
    assert [request.header(name) for name in ("x-team", "user-agent")] == ["1", "host"]
    assert str(request.header("authorization")).startswith("Basic ")


Hook = Callable[[httpx.Response], Awaitable[None]]


async def raise_for_status(response: httpx.Response) -> None:
    response.raise_for_status()


async def read(response: httpx.Response) -> None:
    await response.aread()


async def break_down(response: httpx.Response) -> None:
    raise KeyError(str(response.url))


@pytest.fixture
async def with_hook(fault_server: FaultServer) -> AsyncIterator[Callable[[Hook], HttpCaller]]:
    client = httpx.AsyncClient(base_url=fault_server.url, trust_env=False)

    def hooked(hook: Hook) -> HttpCaller:
        client.event_hooks = {"response": [hook]}
        return HttpCaller(client=client, max_response_bytes=100)

    yield hooked
    await client.aclose()


async def test_a_hook_that_raises_for_a_status_does_not_hide_the_status(
    fault_server: FaultServer, with_hook: Callable[[Hook], HttpCaller]
) -> None:
    fault_server.script("/", json_answer({}, 429, {"retry-after": "7"}))
    response = await with_hook(raise_for_status).send("GET", "/", params={"key": CANARY})
    assert (response.status, response.headers["retry-after"]) == (429, "7")


async def test_a_hook_that_reads_the_body_leaves_it_readable(
    fault_server: FaultServer, with_hook: Callable[[Hook], HttpCaller]
) -> None:
    fault_server.script("/", json_answer({"a": 1}), answer(200, b"x" * 101))
    caller = with_hook(read)
    assert (await caller.send("GET", "/")).json() == {"a": 1}
    with pytest.raises(ResponseTooLarge):
        await caller.send("GET", "/")


async def test_a_hook_that_breaks_down_loses_the_answer(
    fault_server: FaultServer, with_hook: Callable[[Hook], HttpCaller]
) -> None:
    fault_server.script("/", json_answer({}))
    with pytest.raises(AnswerLost, match=r"\(KeyError\)"):
        await with_hook(break_down).send("GET", "/", params={"key": CANARY})


async def test_no_free_connection_in_time_is_not_sent(fault_server: FaultServer) -> None:
    fault_server.script("/hang", hang)
    async with HttpCaller(fault_server.url, timeout=1.2, max_connections=1) as caller:

        async def occupy() -> None:
            with pytest.raises(CallTimeout):
                await caller.send("POST", "/hang", json={})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(occupy)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(NotSent, match="PoolTimeout"):
                await caller.send("POST", "/never", json={})
    assert fault_server.received("/never") == []


async def test_nothing_private_is_in_an_error_and_nothing_is_logged(
    fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Finding F10: httpx logs the URL of each request, and has it in the text of its errors."""
    caplog.set_level(logging.INFO)
    fault_server.script("/broken", raw(b"HTTP/1.1 200 " + CANARY.encode() + b"\r\nbad header\r\n\r\n"))
    fault_server.script("/away", redirect(f"https://evil.example/?t={CANARY}"))
    headers = {"Authorization": f"Bearer {CANARY}"}
    async with HttpCaller(fault_server.url, headers=headers) as caller:
        for path in ("/broken", "/away"):
            with pytest.raises(ProviderError) as caught:
                await caller.send("GET", f"{path}?api_key={CANARY}", headers={"X-Key": CANARY})
            text = "".join(traceback.format_exception(caught.value))
            assert CANARY not in text
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
        await caller.send("GET", f"/?api_key={CANARY}")
        assert CANARY not in repr(caller)
    assert CANARY not in caplog.text
    assert CANARY not in repr(Response(200, body=CANARY.encode()))


async def test_the_environment_is_not_asked_for_a_proxy(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    fault_server.script("/", json_answer({}))
    async with HttpCaller(fault_server.url) as caller:
        assert (await caller.send("GET", "/")).status == 200


async def test_a_transport_of_the_host_s_is_used_and_closed() -> None:
    class Recording(httpx.MockTransport):
        is_closed = False

        async def aclose(self) -> None:
            self.is_closed = True

    transport = Recording(lambda request: httpx.Response(200, json={"path": request.url.path}))
    async with HttpCaller("https://api.acme.example/v1", transport=transport) as caller:
        assert (await caller.send("GET", "/x")).json() == {"path": "/v1/x"}
    assert transport.is_closed


def test_steps_before_sending_time_out_before_the_whole_does() -> None:
    steps = timeouts(30.0)["timeout"]
    assert steps["pool"] + steps["connect"] < 30.0 <= steps["read"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"base_url": "acme"},
        {"base_url": "https://a.example", "timeout": 0},
        {"base_url": "https://a.example", "timeout": math.inf},
        {"base_url": "https://a.example", "timeout": math.nan},
        {"base_url": "https://a.example", "max_response_bytes": 0},
        {"base_url": "https://a.example", "max_connections": 0},
        {"base_url": "https://a.example", "headers": {"a b": "c"}},
        {"client": httpx.AsyncClient()},
        {"client": httpx.AsyncClient(base_url="https://a.example"), "transport": httpx.AsyncHTTPTransport()},
    ],
)
def test_a_caller_that_could_not_work_is_not_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        HttpCaller(**arguments)
