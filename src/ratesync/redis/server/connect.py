"""Reaches servers: one by a connection of our own, several by a client of coredis.

The client's own retries are off: that a script runs twice is decided here or not at all.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any, TypeAlias

from ratesync.errors import ConfigurationError
from ratesync.model.secret import Secret
from ratesync.redis.server.address import Address, Kind
from ratesync.redis.server.session import Client, ClientSession, Session, WireSession
from ratesync.redis.server.wires import wire_opener

MakeClient: TypeAlias = Callable[[], AbstractAsyncContextManager[Client]]
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Session]]

CONNECTIONS = 16
"""Most connections of a client. Scripts share one mostly; each that waits for replicas needs one for itself."""


def connector(
    address: Address,
    timeout: float,
    *,
    ssl_context: ssl.SSLContext | None = None,
    blocks: bool = False,
    confirms: bool = False,
) -> Connect:
    """A function that makes sessions.

    :param timeout: seconds to connect, and seconds for an answer.
    :param ssl_context: in place of one that trusts the system's authorities.
    :param blocks: commands may wait at the server, so that no answer is late.
    :param confirms: writes are confirmed by replicas, so that each needs a connection for itself.
    :raises ConfigurationError: it takes coredis, which is not installed.
    """
    if not address.is_tls:
        ssl_context = None
    elif ssl_context is None:
        ssl_context = ssl.create_default_context(cafile=address.ssl_ca_certs)
    if address.is_one_server and not confirms:
        return _by_wire(address, timeout, ssl_context)
    try:
        import_module("coredis")  # takes half a second once, before anybody waits for an answer
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed: pip install 'ratesync[redis]'") from None
    return by_client(_client_maker(address, timeout, ssl_context, blocks=blocks))


def _by_wire(address: Address, timeout: float, ssl_context: ssl.SSLContext | None) -> Connect:
    open_wire = wire_opener(address, timeout, ssl_context)

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Session]:
        async with open_wire() as wire:
            yield WireSession(wire, timeout)

    return connect


def by_client(make: MakeClient) -> Connect:
    """Sessions through the clients that a function makes."""

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Session]:
        async with make() as client:
            yield ClientSession(client)

    return connect


def _client_maker(address: Address, timeout: float, ssl_context: ssl.SSLContext | None, *, blocks: bool) -> MakeClient:
    settings: dict[str, Any] = {
        "username": address.username,
        "ssl_context": ssl_context,
        "connect_timeout": timeout,
        "stream_timeout": None if blocks else timeout,
        "max_connections": CONNECTIONS,
    }

    def make() -> AbstractAsyncContextManager[Client]:
        from coredis.retry import NoRetryPolicy

        own = {"password": _revealed(address.password), "retry_policy": NoRetryPolicy()}
        return _MAKERS[address.kind](address, settings | own)

    return make


def lent(client: Client) -> Connect:
    """A client that the host opens and closes."""

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Session]:
        yield ClientSession(client)

    return connect


def _revealed(password: Secret | None) -> str | None:
    return None if password is None else password.reveal()


def _single(address: Address, settings: dict[str, Any]) -> AbstractAsyncContextManager[Client]:
    import coredis

    ((host, port),) = address.hosts
    return coredis.Redis(host, port, address.db, verify_version=False, **settings)


def _socket(address: Address, settings: dict[str, Any]) -> AbstractAsyncContextManager[Client]:
    import coredis

    return coredis.Redis(unix_socket_path=address.path, db=address.db, verify_version=False, **settings)


def _cluster(address: Address, settings: dict[str, Any]) -> AbstractAsyncContextManager[Client]:
    import coredis
    from coredis.connection import TCPLocation

    nodes = [TCPLocation(host, port) for host, port in address.hosts]
    return coredis.RedisCluster(
        startup_nodes=nodes,
        verify_version=False,
        max_connections_per_node=True,
        non_atomic_cross_slot=False,
        **settings,
    )


def place_of(client: Client) -> tuple[Address, ssl.SSLContext | None] | None:
    """Where the server of a host's client is, and how it is spoken to with TLS.

    None where several servers stand behind it, or it fetches its password from somewhere.
    """
    import coredis
    from coredis.connection import TCPLocation, UnixDomainSocketLocation

    pool = client.connection_pool
    settings: dict[str, Any] = dict(pool.connection_kwargs)
    if type(pool) is not coredis.ConnectionPool or settings.get("credential_provider") is not None:
        return None
    context = settings.get("ssl_context")
    password = settings.get("password")
    login: dict[str, Any] = {
        "username": settings.get("username"),
        "password": Secret(password) if isinstance(password, str) and password else None,
    }
    match pool.location:
        case TCPLocation(host=host, port=port):
            kind: dict[str, Any] = {"kind": Kind.SINGLE, "hosts": ((host, port),)}
        case UnixDomainSocketLocation(path=path):
            kind = {"kind": Kind.SOCKET, "path": path}
        case _:
            return None
    return Address(**kind, **login, db=settings.get("db") or 0, is_tls=context is not None), context


@asynccontextmanager
async def _sentinel(address: Address, settings: dict[str, Any]) -> AsyncGenerator[Client]:
    from coredis import Sentinel
    from coredis.connection import TCPLocation

    names = ("connect_timeout", "ssl_context")
    of_sentinels = {name: settings[name] for name in names} | {
        "username": address.sentinel_username,
        "password": _revealed(address.sentinel_password),
        "stream_timeout": settings["connect_timeout"],
        "verify_version": False,
    }
    sentinel = Sentinel(
        [TCPLocation(host, port) for host, port in address.hosts],
        sentinel_kwargs=of_sentinels,
        **settings,
        db=address.db,
    )
    async with sentinel, sentinel.primary_for(address.service) as client:
        client.verify_version = False
        yield client


_MAKERS = {Kind.SINGLE: _single, Kind.SOCKET: _socket, Kind.CLUSTER: _cluster, Kind.SENTINEL: _sentinel}
