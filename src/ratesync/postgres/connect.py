"""Making connections: by a URL, by the host's own function, or out of the host's own pool."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import frozen

from ratesync.errors import ConfigurationError
from ratesync.model.secret import Secret

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[[], Connection]

KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""Of connections at rest: a network that forgets them is noticed, and forgets them less."""

SHORTEST_TIMEOUT = 2
"""Seconds that libpq takes at least for a connection."""


@runtime_checkable
class Lender(Protocol):
    """A pool of the host's, such as a ``psycopg_pool.ConnectionPool``."""

    def getconn(self) -> Any:
        """Lend a connection."""
        ...

    def putconn(self, conn: Any) -> None:
        """Take it back, broken or not."""
        ...


@frozen
class Source:
    """Where connections come from. The functions are called in worker threads."""

    name: str
    """For errors: where the server is, without user and password."""
    take: Connect
    give_back: Callable[[Connection], None] | None = None
    """Of a pool of the host's: who lent it wants it back after each use. None: connections are ours to keep."""

    @classmethod
    def of(cls, source: str | Connect | Lender, timeout: float) -> Source:
        """The source that a host named.

        :raises ConfigurationError: a URL that cannot be used. Nothing of it is part of the message.
        """
        if isinstance(source, str):
            return _by_url(source, timeout)
        if isinstance(source, Lender):
            return cls("the host's pool of connections", source.getconn, source.putconn)
        return cls("the host's PostgreSQL", source)


def client() -> Any:
    """The module psycopg.

    :raises ConfigurationError: it is not installed.
    """
    try:
        return import_module("psycopg")
    except ImportError:
        raise ConfigurationError(
            "the state in PostgreSQL needs psycopg 3 and libpq: install ratesync[postgres]"
        ) from None


def _by_url(url: str, timeout: float) -> Source:
    psycopg = client()
    given: dict[str, Any] | None = None
    with suppress(psycopg.Error, ValueError):
        given = psycopg.conninfo.conninfo_to_dict(url)
    if given is None or not _is_plausible(given):
        # Not raised above, so that the exception there, which repeats the URL, is not part of it.
        raise ConfigurationError(
            "the URL of the PostgreSQL cannot be read. Write postgresql://user:password@host:5432/database, and "
            "percent-encode what means something in a URL (/ is %2F, @ is %40)."
        )
    hosts = str(given.get("host", ""))
    defaults: dict[str, Any] = {
        "application_name": "ratesync",
        "client_encoding": "UTF8",
        "connect_timeout": max(SHORTEST_TIMEOUT, math.ceil(timeout)),
        "tcp_user_timeout": round(timeout * 1000),
        **KEEPALIVE,
    }
    if "," in hosts:  # of several servers, the one that takes writes
        defaults["target_session_attrs"] = "read-write"
    conninfo = Secret(psycopg.conninfo.make_conninfo(**(defaults | given)))

    def take() -> Connection:
        # Statements are not prepared, as a PgBouncer between us and the server may not know them.
        connection: Connection = psycopg.connect(conninfo.reveal(), autocommit=True, prepare_threshold=None)
        return connection

    where = f"{hosts or 'localhost'}:{given.get('port', 5432)}/{given.get('dbname', '')}"
    return Source(f"postgresql://{where}", take)


def _is_plausible(given: dict[str, Any]) -> bool:
    """Tell whether the password was percent-encoded where it had to be, so that no part of it stands in a message."""
    ports = str(given.get("port") or "5432").split(",")
    return all(port.isdecimal() or not port for port in ports) and "@" not in str(given.get("host", ""))
