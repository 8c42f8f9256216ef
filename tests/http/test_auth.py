"""Authentication objects: what they send, that they send it to one origin only, and that nothing shows it."""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Generator

import httpx
import pytest
from typing_extensions import override

from ratesync.errors import ConfigurationError, NotSent, UnsafeRedirect
from ratesync.http import (
    ApiKey,
    Basic,
    Bearer,
    BoundTransport,
    Chain,
    HmacSigned,
    HttpCaller,
    OnlyAt,
    QueryKey,
)
from ratesync.http.reason import reason_of
from tests.servers.fault_server import FaultServer
from tests.servers.replies import json_answer, redirect

pytestmark = pytest.mark.anyio

CANARY = "hunter2-canary"


@pytest.fixture
async def caller(fault_server: FaultServer) -> AsyncIterator[HttpCaller]:
    fault_server.script("/a", json_answer({}))
    async with HttpCaller(fault_server.url, timeout=10) as caller:
        yield caller


async def test_keys_are_sent_where_they_belong(fault_server: FaultServer, caller: HttpCaller) -> None:
    auth = Chain(ApiKey(CANARY), Basic("ada", "pass:word"), QueryKey("k&y", param="key"))
    await caller.send("GET", "/a", params={"x": "1"}, auth=auth)
    await caller.send("GET", "/a", auth=Bearer("token"))
    first, second = fault_server.requests
    assert first.header("x-api-key") == CANARY
    assert first.header("authorization") == "Basic YWRhOnBhc3M6d29yZA=="
    assert first.target == "/a?x=1&key=k%26y"
    assert second.header("authorization") == "Bearer token"
    assert second.header("x-api-key") is None


class Twice(Bearer):
    """A host's own: only the flow that httpx knows is another one."""

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["X-Second"] = "2"
        yield from super().auth_flow(request)


async def test_what_a_subclass_adds_is_sent_too(fault_server: FaultServer, caller: HttpCaller) -> None:
    answer = await caller.send("GET", "/a", auth=Twice(CANARY))
    (request,) = fault_server.requests
    assert (request.header("x-second"), request.header("authorization")) == ("2", f"Bearer {CANARY}")
    assert {secret.reveal() for secret in answer.secrets} == {"2", f"Bearer {CANARY}"}


@pytest.mark.parametrize("auth", [ApiKey(CANARY), Bearer(CANARY), Basic("ada", CANARY)], ids=repr)
async def test_a_client_of_httpx_s_and_a_caller_send_the_same(
    fault_server: FaultServer, caller: HttpCaller, auth: httpx.Auth
) -> None:
    fault_server.script("/a", json_answer({}))
    answer = await caller.send("GET", "/a", auth=auth, headers={"Authorization": "mine", "X-API-Key": "mine"})
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{fault_server.url}/a", auth=auth, headers={"Authorization": "mine", "X-API-Key": "mine"})
    ours, theirs = ([r.header(name) for name in ("authorization", "x-api-key")] for r in fault_server.requests)
    assert ours == theirs
    assert {secret.reveal() for secret in answer.secrets} == set(ours)


async def test_a_request_is_signed_as_it_is_sent(fault_server: FaultServer, caller: HttpCaller) -> None:
    await caller.send("POST", "/a", json={"a": "ä"}, auth=Chain(QueryKey("k", param="key"), HmacSigned(CANARY)))
    (request,) = fault_server.requests
    message = f"{request.header('x-timestamp')}.POST./a?key=k.".encode() + request.body
    assert request.header("x-signature") == hmac.digest(CANARY.encode(), message, "sha256").hex()


async def test_each_redirect_is_authenticated_anew(fault_server: FaultServer, caller: HttpCaller) -> None:
    fault_server.script("/from", redirect("/a"))
    assert (await caller.send("GET", "/from", auth=QueryKey(CANARY))).status == 200
    assert fault_server.requests[1].target == f"/a?api_key={CANARY}"


async def test_case_51_credentials_and_bodies_stay_at_their_origin(
    fault_server: FaultServer, other_origin: FaultServer
) -> None:
    """Httpx alone would send the key and the body of a 307 on."""
    other_origin.script("/a", json_answer({}))
    fault_server.script("/from", redirect(other_origin.url + "/a", 307))
    async with HttpCaller(fault_server.url, auth=ApiKey(CANARY)) as caller:
        for method in ("GET", "POST"):
            with pytest.raises(UnsafeRedirect):
                await caller.send(method, "/from", content=b"private" if method == "POST" else None)
    bound = BoundTransport(fault_server.url, httpx.AsyncHTTPTransport(trust_env=False))
    auth = OnlyAt(fault_server.url, ApiKey(CANARY))
    async with httpx.AsyncClient(transport=bound, auth=auth, follow_redirects=True) as client:
        with pytest.raises(UnsafeRedirect):
            await client.post(fault_server.url + "/from", content=b"private")
    async with httpx.AsyncClient(auth=auth, trust_env=False) as client:
        with pytest.raises(UnsafeRedirect, match="nothing was sent elsewhere"):
            await client.get(other_origin.url + "/a")
    assert other_origin.requests == []


class Wandering(httpx.Auth):
    """Sends the request somewhere else."""

    def __init__(self, url: str) -> None:
        self.url = url

    def auth_flow(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        yield httpx.Request("GET", self.url, headers=request.headers)


class Broken(httpx.Auth):
    def auth_flow(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        raise ValueError(CANARY)
        yield request


async def test_an_authentication_of_the_hosts_is_bound_too(
    fault_server: FaultServer, other_origin: FaultServer, caller: HttpCaller
) -> None:
    with pytest.raises(UnsafeRedirect, match="points away"):
        await caller.send("GET", "/a", auth=Wandering(other_origin.url))
    with pytest.raises(NotSent, match="authentication failed with ValueError") as caught:
        await caller.send("GET", "/a", auth=Broken())
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None
    assert fault_server.requests == other_origin.requests == []


async def test_digest_and_other_flows_of_httpx_work(fault_server: FaultServer, caller: HttpCaller) -> None:
    challenge = json_answer({}, 401, {"www-authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'})
    fault_server.script("/d", challenge, json_answer({"ok": True}))
    response = await caller.send("GET", "/d", auth=httpx.DigestAuth("ada", "word"))
    assert response.json() == {"ok": True}
    assert (fault_server.requests[1].header("authorization") or "").startswith("Digest ")


async def test_what_was_sent_is_masked_in_reasons(fault_server: FaultServer, caller: HttpCaller) -> None:
    fault_server.script("/a", json_answer({"message": f"key {CANARY} may not"}, 403))
    for auth in (ApiKey(CANARY), QueryKey(CANARY), Bearer(CANARY)):
        response = await caller.send("GET", "/a", auth=auth)
        assert reason_of(response) == "HTTP 403 Forbidden: key *** may not"
        assert CANARY not in repr(response) + repr(auth) + repr(vars(auth))


async def test_httpx_logs_no_query(fault_server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    fault_server.script("/a", json_answer({}, headers={"set-cookie": CANARY}))
    caplog.set_level(logging.DEBUG)
    auth = QueryKey(CANARY)
    async with httpx.AsyncClient(base_url=fault_server.url, trust_env=False) as client:
        await HttpCaller(client=client, auth=auth).send("GET", "/a", params={"x": "1"})
    assert f"GET {fault_server.url}/a?***" in caplog.text
    assert "receive_response_headers.complete" in caplog.text
    assert CANARY not in caplog.text


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    for header, key in (("X Key", "k"), ("X-Key", "a\nb"), ("Host", "k")):
        with pytest.raises(ConfigurationError):
            ApiKey(key, header=header)
    with pytest.raises(ConfigurationError, match="colon"):
        Basic("a:b", "c")
    with pytest.raises(ConfigurationError, match="hash_name"):
        HmacSigned("k", hash_name="md5")  # type: ignore[arg-type]
