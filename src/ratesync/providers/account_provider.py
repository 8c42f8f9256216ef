"""What every adapter over HTTP has: an account for each connection, over one pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict

from typing_extensions import override

from ratesync.clock import Clock, SystemClock
from ratesync.errors import ConfigurationError, NotSent
from ratesync.http.accounts import AccountCallers, Accounts
from ratesync.http.caller import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_RESPONSE_BYTES, DEFAULT_TIMEOUT, HttpCaller
from ratesync.http.client_callers import ClientCallers
from ratesync.http.exchange import HttpClient
from ratesync.http.guard import AddressGuard
from ratesync.model.secret import Secret

if TYPE_CHECKING:
    import httpx


class AccountOptions(TypedDict, total=False):
    """What may be said of any adapter over HTTP, by keyword. :class:`AccountProvider` explains each."""

    headers: Mapping[str, str | Secret]
    client: HttpClient[Any]
    transport: httpx.AsyncBaseTransport
    timeout: float
    max_response_bytes: int
    max_connections: int
    guard: AddressGuard
    clock: Clock


class AccountProvider:
    """The part of an adapter that knows whom to call as, and nothing of what the API is about.

    It is left after the engine that uses it.

    :param name: the provider's name, as operations give it.
    :param base_url: where paths begin, for accounts that have no address of their own.
    :param accounts: how to authenticate: one :class:`~ratesync.http.Account` for all connections, or each by the
        connection's name, or a function from the name to it.
    :param headers: sent with every request, texts or :class:`~ratesync.Secret`. None of them shows.
    :param client: the host's own ``httpx.AsyncClient`` or httpx2's, never closed here.
    :param transport: in place of a pool of our own; it is closed with the adapter.
    :param timeout: seconds for a whole call. Default 30.
    :param max_response_bytes: largest answer. Default 10 MiB.
    :param max_connections: of the pool. Default 10.
    :param guard: which addresses may be called, where users of the host configure them.
    :param clock: for dates in Retry-After.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None,
        accounts: Accounts,
        *,
        headers: Mapping[str, str | Secret] | None = None,
        client: HttpClient[Any] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        guard: AddressGuard | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._clock = clock or SystemClock()
        calls: dict[str, Any] = {
            "headers": headers or {},
            "transport": transport,
            "timeout": timeout,
            "max_response_bytes": max_response_bytes,
            "max_connections": max_connections,
            "guard": guard,
        }
        self._callers = (
            AccountCallers(accounts, base_url, **calls)
            if client is None
            else ClientCallers(accounts, base_url, client=client, **calls)
        )

    def caller(self, connection: str) -> HttpCaller:
        """The caller of a connection.

        :raises Unauthorised: the connection has no account. :raises NotSent: asking for it failed, or it cannot be
            used: nothing is wrong with what was to be sent, so it waits until the host has put its settings right.
        """
        try:
            return self._callers.caller(connection)
        except ConfigurationError as error:
            problem = str(error)
        raise NotSent(problem)

    def forget(self, connection: str) -> None:
        """Ask for the connection's account anew at its next call, as its address or its token is another one now."""
        self._callers.forget(connection)

    async def aclose(self) -> None:
        """Close the connections; a client of the host's stays open."""
        await self._callers.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
