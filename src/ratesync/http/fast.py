"""A faster transport, on aiohttp: an extra, for asyncio only."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import httpx
from attrs import frozen
from typing_extensions import override

from ratesync.errors import ConfigurationError, NotSent
from ratesync.http.exchange import DirectTransport, RawResponse, Sender
from ratesync.http.guard import AddressGuard, call_over

if TYPE_CHECKING:
    import aiohttp
    import aiohttp.abc

_KEEP_ALIVE = 5.0
"""Seconds for which an idle connection is kept, as httpx does."""

_LARGE = 2**20
"""Bytes of a body from which on aiohttp warns of it, unless it can be read in pieces."""


def fast_transport(
    *, max_connections: int = 10, verify: ssl.SSLContext | bool = True, guard: AddressGuard | None = None
) -> httpx.AsyncBaseTransport:
    """A transport on aiohttp, for ``transport=`` of a provider: several times the calls per second of httpx's own.

    A provider or :class:`HttpCaller` that has it calls aiohttp with nothing of httpx in between. A client of httpx's
    kind may have it, too, or a transport of your own around it: they go by way of httpx-aiohttp, which is slower,
    undoes percent encoding in paths, and warns of bodies larger than 1 MiB.

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
    pool = _Pool(max_connections, context, guard)
    return _FastTransport(pool, AiohttpTransport(client=pool.session, verify=context))


class _Pool:
    """The connections, opened at the first call, as aiohttp asks for a running loop."""

    def __init__(self, max_connections: int, context: ssl.SSLContext, guard: AddressGuard | None) -> None:
        self._max_connections, self._context, self._guard = max_connections, context, guard
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The session of all calls."""
        if self._session is None:
            self._session = _session(self._max_connections, self._context, self._guard)
        return self._session

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._session is not None:
            await self._session.close()


@frozen
class _Fields:
    raw: Sequence[tuple[bytes, bytes]]


class _FastTransport(DirectTransport):
    """Serves a caller of ours without httpx in between, and a client of httpx's kind with it, over one pool."""

    def __init__(self, pool: _Pool, behind_httpx: httpx.AsyncBaseTransport) -> None:
        self._pool, self._behind_httpx = pool, behind_httpx

    @override
    def sender(self, total: float) -> Sender:
        from aiohttp import ClientTimeout
        from yarl import URL

        # As `timeouts` has them. A read has no bound of its own: the total is watched.
        steps = ClientTimeout(connect=total / 3, sock_connect=total / 3)

        async def send(method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> RawResponse:
            session = self._pool.session()
            if session.closed:
                raise NotSent("the HTTP transport is closed: open a new one")
            answer = await session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=BytesIO(content) if content and len(content) > _LARGE else content or None,
                allow_redirects=False,
                auto_decompress=False,
                timeout=steps,
            )
            return _Answer(answer)

        return send

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._behind_httpx.handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._pool.aclose()


class _Answer:
    """An answer of aiohttp's, read as one of httpx's."""

    __slots__ = ("_answer", "headers", "status_code")

    is_stream_consumed = False
    content = b""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.status_code, self.headers, self._answer = answer.status, _Fields(answer.raw_headers), answer

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body as it comes, not decoded."""
        return self._answer.content.iter_any()

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._answer.close()


def _session(max_connections: int, context: ssl.SSLContext, guard: AddressGuard | None) -> aiohttp.ClientSession:
    import aiohttp

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError("the fast transport runs on asyncio only: leave `transport` out on trio") from None

    async def once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        # Two turns of the loop, in which it notices that the provider has closed a kept connection. A loop that was
        # blocked for a while would otherwise send on it, and nobody could tell whether that request arrived.
        for _ in range(2):
            await asyncio.sleep(0)
        try:
            with call_over(request.url.scheme):
                if guard is not None:
                    guard.check_literal(request.url.host or "")  # for which aiohttp asks no resolver
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
            use_dns_cache=guard is None,  # what was found for https is not for http; and it asks in another task
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("content-type",),
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
