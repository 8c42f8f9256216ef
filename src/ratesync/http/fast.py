"""A faster transport, on aiohttp: an extra, for asyncio only."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import httpx

from ratesync.errors import ConfigurationError
from ratesync.http.guard import AddressGuard

if TYPE_CHECKING:
    import aiohttp
    import aiohttp.abc

_KEEP_ALIVE = 5.0
"""Seconds for which an idle connection is kept, as httpx does."""


def fast_transport(
    *, max_connections: int = 10, verify: ssl.SSLContext | bool = True, guard: AddressGuard | None = None
) -> httpx.AsyncBaseTransport:
    """A transport on aiohttp, for ``transport=`` of a provider: several times the calls per second of httpx's own.

    It keeps no cookies, reads nothing from the environment and repeats no request by itself. (Left alone, aiohttp sends
    a GET, PUT or DELETE again when its connection breaks. An answer "412: exists already" could then be about our own
    write.)

    :param max_connections: of its pool. Default 10.
    :param verify: an SSL context with certificates of your own, or True for the usual ones.
    :param guard: says which addresses may be called. Default: all.
    :raises ConfigurationError: aiohttp or httpx-aiohttp is not installed; or, at the first call, the event loop is not
        asyncio's.
    """
    try:
        from httpx_aiohttp import AiohttpTransport
    except ImportError as error:
        raise ConfigurationError(f"{error.name} is not installed: pip install 'ratesync[fast]'") from None
    context = httpx.create_ssl_context(verify=verify, trust_env=False)
    return AiohttpTransport(client=lambda: _session(max_connections, context, guard), verify=context)


def _session(max_connections: int, context: ssl.SSLContext, guard: AddressGuard | None) -> aiohttp.ClientSession:
    import aiohttp

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError("the fast transport runs on asyncio only: leave `transport` out on trio") from None

    async def once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if guard is not None:
            guard.check_literal(request.url.host or "")  # for which aiohttp asks no resolver
        try:
            return await send(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            # Another class than those for which aiohttp sends the request again.
            raise aiohttp.ClientPayloadError(f"the connection broke ({type(error).__name__})") from error

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=max_connections,
            ssl=context,
            keepalive_timeout=_KEEP_ALIVE,
            resolver=None if guard is None else _resolver(guard),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(once,),
    )


def _resolver(guard: AddressGuard) -> aiohttp.abc.AbstractResolver:
    import aiohttp.abc

    class GuardedResolver(aiohttp.abc.AbstractResolver):
        """Gives checked addresses only, and aiohttp connects to no others."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            return [
                aiohttp.abc.ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in await guard.addresses(host, port)
            ]

        async def close(self) -> None:
            """Nothing to close."""

    return GuardedResolver()
