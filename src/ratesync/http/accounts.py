"""The accounts that an adapter calls as: one for each connection."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import ClassVar

import httpx
from attrs import define, field, frozen
from typing_extensions import override

from ratesync.errors import ConfigurationError, NotSent, ProviderError, Unauthorised
from ratesync.http.caller import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_RESPONSE_BYTES, DEFAULT_TIMEOUT, HttpCaller
from ratesync.http.exchange import DirectTransport, Sender, sender_over
from ratesync.http.guard import AddressGuard, GuardedTransport
from ratesync.http.headers import kept_headers
from ratesync.model.secret import Sealed, Secret

_REMEMBERED = 1_000
"""Callers kept at a time. They are small; the connections are those of one pool."""


@frozen
class Account(Sealed):
    """How to call a provider for one connection."""

    auth: httpx.Auth | None = field(default=None, repr=False)
    """Authenticates every request: one of :mod:`ratesync.http`'s objects, or any other of httpx's kind."""
    base_url: str | None = field(default=None, repr=False)
    """Where this account's paths begin, where each has its own address. Default: the adapter's."""


Accounts = Account | Mapping[str, Account] | Callable[[str], Account]
"""One account for all connections, or each by its connection's name, or a function from the name to it."""


@define
class AccountCallers:
    """A caller for each connection, all over one pool of connections.

    A function's account is asked for again when its connection has not been called for long: among the last 1,000.
    ``forget`` makes it be asked for at the next call.

    Args:
        accounts: The accounts.
        base_url: Of accounts that name none.
        headers: Sent with every request.
        transport: In place of a pool of our own; it is closed with the callers.
        timeout: Seconds for a whole call. Default 30.
        max_response_bytes: Largest answer. Default 10 MiB.
        max_connections: Of the pool. Default 10.
        guard: Which addresses may be called, where users of the host configure them. Not together with ``transport``.
    """

    records_requests: ClassVar[bool] = True
    """As :attr:`HttpCaller.records_requests`."""

    accounts: Accounts = field(repr=False)
    base_url: str | None = field(default=None, repr=False)
    headers: Mapping[str, Secret] = field(factory=dict[str, Secret], converter=kept_headers, repr=False, kw_only=True)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False, kw_only=True)
    timeout: float = field(default=DEFAULT_TIMEOUT, kw_only=True)
    max_response_bytes: int = field(default=DEFAULT_MAX_RESPONSE_BYTES, kw_only=True)
    max_connections: int = field(default=DEFAULT_MAX_CONNECTIONS, kw_only=True)
    guard: AddressGuard | None = field(default=None, repr=False, kw_only=True)
    _pool: httpx.AsyncBaseTransport = field(init=False, repr=False)
    _callers: OrderedDict[str, HttpCaller] = field(factory=OrderedDict[str, HttpCaller], init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.guard is not None and self.transport is not None:
            raise ConfigurationError("a guard works in the callers' own transport: leave the transport out")
        limits = httpx.Limits(max_connections=self.max_connections, max_keepalive_connections=self.max_connections)
        if self.transport is not None:
            self._pool = self.transport
        elif self.guard is not None:
            self._pool = GuardedTransport(self.guard, limits)
        else:
            self._pool = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        if isinstance(self.accounts, Account):
            named = [self.accounts]
        else:
            named = [] if callable(self.accounts) else list(self.accounts.values())
        for account in named:
            self._made(account)  # a mistake in an address shows now rather than at the first call

    def caller(self, connection: str) -> HttpCaller:
        """The caller of a connection.

        :raises Unauthorised: there is no account for it (LookupError): the engine pauses the connection.
        :raises NotSent: the function that tells accounts failed.
        """
        known = self._callers.get(connection)
        if known is None:
            known = self._callers[connection] = self._made(self._account(connection))
            if len(self._callers) > _REMEMBERED:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(connection)
        return known

    def forget(self, connection: str) -> None:
        """Ask for the connection's account anew at its next call."""
        self._callers.pop(connection, None)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()

    def _account(self, connection: str) -> Account:
        if isinstance(self.accounts, Account):
            return self.accounts
        try:
            return self.accounts(connection) if callable(self.accounts) else self.accounts[connection]
        except LookupError:
            problem: ProviderError = Unauthorised(f"there is no account for connection {connection!r}")
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001  the host's function may raise anything
            problem = NotSent(f"the account of connection {connection!r} failed with {type(error).__name__}")
        # Raised here so that the exception underneath, which may hold a secret, is not part of it.
        raise problem

    def _made(self, account: Account) -> HttpCaller:
        return HttpCaller(
            account.base_url or self.base_url,
            transport=_Shared(self._pool),
            headers=self.headers,
            auth=account.auth,
            timeout=self.timeout,
            max_response_bytes=self.max_response_bytes,
        )


class _Shared(DirectTransport):
    """A transport that several callers use: none of them closes it."""

    def __init__(self, pool: httpx.AsyncBaseTransport) -> None:
        self._pool = pool

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._pool.handle_async_request(request)

    @override
    def sender(self, total: float) -> Sender:
        return sender_over(self._pool, total)
