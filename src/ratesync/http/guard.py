"""Calling no address that must not be called, whatever a URL says (server-side request forgery)."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_network
from typing import cast

import anyio
import httpcore
import httpx
from typing_extensions import override

from ratesync.errors import BlockedAddress, ConfigurationError
from ratesync.rules.address import Address, may_call, read_address

_ENCRYPTED: ContextVar[bool] = ContextVar("encrypted", default=False)


class AddressGuard:
    """Lets connections to public addresses through, with https only, and to those that are allowed explicitly.

    A name is resolved once, what it resolves to is checked, and the connection goes to a checked address; so a name
    that resolves to another address a moment later, and odd spellings (``2130706433``, ``0x7f000001``, ``127.1``), get
    nobody in. Private, link-local (cloud metadata), multicast, NAT64, 6to4, Teredo and site-local addresses are no
    public ones.

    :param allow: networks or addresses that may be called although they are not public, or with plain http, such as
        ``"10.1.0.0/16"``.
    :raises ConfigurationError: one of them is none.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        try:
            self._allowed = tuple(ip_network(text) for text in allow)
        except ValueError:
            raise ConfigurationError("allow must hold networks or addresses, as in 10.1.0.0/16 or 127.0.0.1") from None

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host that may be called, within :func:`call_over`.

        :raises BlockedAddress: there are none. :raises OSError: the name is not known.
        """
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        texts = dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
        checked = [text for text in texts if self._may_call(read_address(text))]
        if not checked:
            raise _blocked()
        return checked

    def check_literal(self, host: str) -> None:
        """Check a host that is an address already, within :func:`call_over`.

        :raises BlockedAddress: it must not be called.
        """
        address = read_address(host.strip("[]"))
        if address is not None and not self._may_call(address):
            raise _blocked()

    def _may_call(self, address: Address | None) -> bool:
        return address is not None and may_call(address, self._allowed, encrypted=_ENCRYPTED.get())


@contextmanager
def call_over(scheme: str) -> Generator[None]:
    """Where guards are asked for the connection of a call with this scheme. Elsewhere they take it for plain http.

    What opens connections under httpx and aiohttp is told the host, but not the scheme; it runs within the call.
    """
    token = _ENCRYPTED.set(scheme == "https")
    try:
        yield
    finally:
        _ENCRYPTED.reset(token)


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses. TLS is still told the host's name, which its certificate must be for."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        problem: Exception = httpcore.ConnectTimeout()
        with anyio.move_on_after(timeout):
            try:
                addresses = await self._guard.addresses(host, port)
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
            for address in addresses:
                try:
                    return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
                except httpcore.ConnectError as error:
                    problem = error
        raise problem

    @override
    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise _blocked()

    @override
    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over guarded connections. Nothing is read from the environment; there is no proxy."""

    def __init__(self, guard: AddressGuard, limits: httpx.Limits) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False, limits=limits)
        # httpx has no parameter for the network under its pool; httpcore, whose pool it is, has.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_GuardedBackend(guard),
        )

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with call_over(request.url.scheme):
            return await super().handle_async_request(request)


def _blocked() -> BlockedAddress:
    problem = "has no public address" if _ENCRYPTED.get() else "is to be called with plain http"
    return BlockedAddress(f"the host {problem}, and has none that is allowed: nothing was sent")
