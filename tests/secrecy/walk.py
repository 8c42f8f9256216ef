"""Walks in which every answer repeats a credential: what then shows of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
import httpx2

from ratesync import Kind
from ratesync.errors import RateSyncError
from ratesync.http import ClientCredentials, HttpCaller, RefreshToken, TokenEndpoint, TokenKeeper, Tokens, read_outcome
from ratesync.http.reason import code_of
from ratesync.http.refusal import refusal_in
from ratesync.model.secret import Secret
from tests.secrecy.canary import MARK, ODD, SPELLINGS, leaks_in, mark, told_by
from tests.secrecy.echoing import HTML, LOST, ROWS, adapter, operations, said
from tests.secrecy.engine import said_by_engine

Case = tuple[int, str, str]
"""A status, the credential that is repeated, and how."""

STATUSES = (LOST, HTML, 401, 403, 404, 409, 412, 422, 429, 500, 503)
CASES: list[Case] = [
    *((400, ODD, spelling) for spelling in ("plain", "JSON", "base64 of a pair")),
    *((ROWS, word, spelling) for word in (ODD, MARK) for spelling in ("plain", "base64 of a pair")),
    *((status, MARK, "plain") for status in STATUSES),
]
"""For every adapter: each place where it looks for words of the provider's."""
SPELT: list[Case] = [(status, ODD, spelling) for status in (400, ROWS) for spelling in SPELLINGS]
"""For one: one rule undoes all spellings, whoever asks it to."""
FEW = ("plain", "percent", "base64 of a pair")
"""Spellings, where the rule is only to be in its place."""
STATUSES_OF_ENGINES = (LOST, HTML, 400, ROWS, 401, 429, 500)


async def shown_by_adapter(name: str, cases: Iterable[Case]) -> list[str]:
    """What an adapter shows, whatever it is asked for."""
    shown: list[str] = []
    async with adapter(name, mark("token", ODD), mark("key")) as (provider, echo):
        for status, word, spelling in cases:
            secret = mark("token", ODD) if word is ODD else mark("key")
            echo.status, echo.word = status, SPELLINGS[spelling](secret)
            texts = [text async for text in said(name, provider)]
            shown += [f"{name} {status} {spelling}: {text}" for text in texts if leaks_in(text)]
            is_told = (word, spelling) == (MARK, "plain") and status not in {LOST, HTML}
            assert shown or not is_told or any("***" in text for text in texts), f"{name}: {status} was not repeated"
        assert all(secret in "".join(echo.sent) for secret in (mark("token", ODD), mark("key")))
    return shown


async def shown_by_engine(name: str, statuses: Iterable[int]) -> list[str]:
    """What an engine shows that works over an adapter: events, outcomes, dead letters, previews."""
    shown: list[str] = []
    for status in statuses:
        async with adapter(name, mark("token", ODD), mark("key")) as (provider, echo):
            echo.status, echo.word = status, mark("key")
            texts = await said_by_engine(provider, operations(name, provider.capabilities.kinds))
            assert echo.sent, f"{name}: nothing was sent"
            shown += [f"{name} {status}: {text}" for text in texts if leaks_in(text)]
    return shown


def repeating(word: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    """A refusal that repeats a word in all places."""
    return status, {"message": f"no {word}", "code": word, "error": word, "error_description": f"no {word}"}


CLIENTS: dict[str, Any] = {"httpx": httpx, "httpx2": httpx2}
Setting = dict[str, Any]


def client_settings(kind: str) -> dict[str, Setting]:
    """How a host may set its own client up with a credential."""
    client = CLIENTS[kind]
    return {
        "headers": {"headers": {"X-Api-Key": mark("key")}},
        "params": {"params": {"k": mark("key")}},
        "auth": {"auth": client.BasicAuth("ada", mark("key"))},
        "hooks": {"headers": {"X-Api-Key": mark("key")}, "event_hooks": {"response": [_raise_for_status]}},
    }


async def _raise_for_status(response: Any) -> None:
    await response.aread()
    response.raise_for_status()


async def shown_by_client(kind: str, setting: Setting, spellings: Iterable[str]) -> list[str]:
    """What a call over the host's own client shows."""
    client, shown, sent = CLIENTS[kind], list[str](), list[str]()
    word = ""

    def answer(request: Any) -> Any:
        sent.append(f"{request.url} {dict(request.headers)}")
        status, told = repeating(word)
        return client.Response(status, json=told)

    async with client.AsyncClient(transport=client.MockTransport(answer), base_url="https://a.example", **setting) as c:
        caller = HttpCaller(client=c)
        for spelling in spellings:
            word = SPELLINGS[spelling](mark("key"))
            response = await caller.send("GET", "/x", params={"q": "1"})
            texts = [repr(read_outcome(response, Kind.UPDATE, now=0.0)), repr(refusal_in(response, now=0.0))]
            texts += [repr(code_of(response)), repr(response)]
            shown += [f"{spelling}: {text}" for text in texts if leaks_in(text)]
    assert MARK in sent[0] or "Basic" in sent[0]
    return shown


Make = Callable[[httpx.AsyncBaseTransport], TokenKeeper]


def _keeper(grant: Any, **options: Any) -> Make:
    def make(transport: httpx.AsyncBaseTransport) -> TokenKeeper:
        endpoint = TokenEndpoint("https://id.example/token", transport=transport, client_id="c", **options)
        return TokenKeeper(grant=grant, endpoint=endpoint)

    return make


KEEPERS: dict[str, Make] = {
    "secret in Basic": _keeper(ClientCredentials(), client_secret=mark("secret", ODD)),
    "secret in the form": _keeper(ClientCredentials(), client_secret=mark("secret", ODD), in_body=True),
    "another field": _keeper(ClientCredentials(more={"assertion": mark("secret", ODD)})),
    "refresh token": _keeper(RefreshToken()),
}


async def shown_by_token_endpoint(make: Make, spellings: Iterable[str]) -> list[str]:
    """What comes of a token endpoint that repeats what it is asked with."""
    shown, asked = list[str](), list[str]()
    status, word = 400, ""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{dict(request.headers)} {request.content!r}")
        told = repeating(word, status)
        return httpx.Response(*told[:1], json=told[1])

    for spelling in spellings:
        word = SPELLINGS[spelling](mark("secret", ODD))
        for status in (400, 401, 429, 503, 200):
            keeper = make(httpx.MockTransport(answer))
            await keeper.store(Tokens(access=Secret("a"), refresh=Secret(mark("secret", ODD)), expires_at=1.0))
            error: RateSyncError | None = None
            try:
                await keeper.tokens()
            except RateSyncError as caught:
                error = caught
            assert error is not None
            shown += [f"{spelling} {status}: {text}" for text in told_by(error) if leaks_in(text)]
    assert asked
    return shown


async def shown_by_logs(kind: str, lines: list[logging.LogRecord], url: str) -> list[str]:
    """What clients of the host's log of a call with keys in its path, its query and its headers."""
    client = CLIENTS[kind]
    async with client.AsyncClient(trust_env=False, headers={"X-Key": mark("key")}, auth=("ada", mark("key"))) as c:
        caller = HttpCaller(f"{url}/bot/{mark('key')}", client=c)
        assert (await caller.send("POST", "/x", json={"a": 1}, params={"api_key": mark("key")})).status == 200
    assert {line.name.partition(".")[0] for line in lines} >= {kind, kind.replace("httpx", "httpcore")}
    return [line.getMessage() for line in lines if leaks_in(f"{line.getMessage()} {line.args!r}")]


Walk = Callable[[], Awaitable[list[str]]]
