"""Callers over every client and transport that is supported."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import httpx
import httpx2
import pytest
from httpx_aiohttp import HttpxAiohttpClient

from ratesync.http import HttpCaller, fast_transport


class MakeCaller(Protocol):
    """Makes a caller that the fixture closes."""

    def __call__(
        self, url: str, *, tls: ssl.SSLContext | None = None, timeout: float = 10.0, max_response_bytes: int = 1_000_000
    ) -> HttpCaller: ...


def over_own_transport(
    url: str, tls: ssl.SSLContext | bool, _: AsyncExitStack, timeout: float, max_response_bytes: int
) -> HttpCaller:
    transport = None if tls is True else httpx.AsyncHTTPTransport(verify=tls, trust_env=False)
    return HttpCaller(url, transport=transport, timeout=timeout, max_response_bytes=max_response_bytes)


def over_httpx(
    url: str, tls: ssl.SSLContext | bool, stack: AsyncExitStack, timeout: float, max_response_bytes: int
) -> HttpCaller:
    client = httpx.AsyncClient(base_url=url, verify=tls, trust_env=False, follow_redirects=True)
    stack.push_async_callback(client.aclose)
    return HttpCaller(client=client, timeout=timeout, max_response_bytes=max_response_bytes)


def over_httpx2(
    url: str, tls: ssl.SSLContext | bool, stack: AsyncExitStack, timeout: float, max_response_bytes: int
) -> HttpCaller:
    client = httpx2.AsyncClient(base_url=url, verify=tls, trust_env=False, follow_redirects=True)
    stack.push_async_callback(client.aclose)
    return HttpCaller(client=client, timeout=timeout, max_response_bytes=max_response_bytes)


def over_fast_transport(
    url: str, tls: ssl.SSLContext | bool, _: AsyncExitStack, timeout: float, max_response_bytes: int
) -> HttpCaller:
    transport = fast_transport(verify=tls)
    return HttpCaller(url, transport=transport, timeout=timeout, max_response_bytes=max_response_bytes)


def over_aiohttp_client(
    url: str, tls: ssl.SSLContext | bool, stack: AsyncExitStack, timeout: float, max_response_bytes: int
) -> HttpCaller:
    client = HttpxAiohttpClient(base_url=url, verify=tls, trust_env=False, follow_redirects=True)
    stack.push_async_callback(client.aclose)
    return HttpCaller(client=client, timeout=timeout, max_response_bytes=max_response_bytes)


Maker = Callable[[str, ssl.SSLContext | bool, AsyncExitStack, float, int], HttpCaller]

MAKERS: dict[str, Maker] = {
    "own transport": over_own_transport,
    "httpx client": over_httpx,
    "httpx2 client": over_httpx2,
    "fast transport": over_fast_transport,
    "httpx-aiohttp client": over_aiohttp_client,
}
ASYNCIO_ONLY = frozenset({"fast transport", "httpx-aiohttp client"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be: aiohttp on trio."""
    impossible = {item for item in items if isinstance(item, pytest.Function) and _is_impossible(item)}
    config.hook.pytest_deselected(items=list(impossible))
    items[:] = [item for item in items if item not in impossible]


def _is_impossible(item: pytest.Function) -> bool:
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    return params.get("anyio_backend") == "trio" and params.get("make_caller") in ASYNCIO_ONLY


@pytest.fixture(params=MAKERS)
async def make_caller(request: pytest.FixtureRequest) -> AsyncIterator[MakeCaller]:
    async with AsyncExitStack() as stack:

        def make(
            url: str,
            *,
            tls: ssl.SSLContext | None = None,
            timeout: float = 10.0,
            max_response_bytes: int = 1_000_000,
        ) -> HttpCaller:
            caller = MAKERS[request.param](url, tls or True, stack, timeout, max_response_bytes)
            stack.push_async_callback(caller.aclose)
            return caller

        yield make
