"""Where a Redis is, as a URL says it."""

from __future__ import annotations

from enum import Enum
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.model.secret import Secret


class Kind(Enum):
    """How a Redis is run."""

    SINGLE = "redis"
    SOCKET = "unix"
    CLUSTER = "redis+cluster"
    SENTINEL = "redis+sentinel"


_PORTS = {Kind.SINGLE: 6379, Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}
_OPTIONS = {"db", "ssl_ca_certs", "sentinel_username", "sentinel_password"}
_LONG_HOST = "]"
"""Ends an IPv6 address."""


class _Unreadable(ValueError):
    """What is wrong with a URL, in words that repeat nothing of it but its scheme."""


@frozen
class Address:
    """Where a Redis is and who asks. Passwords are in no repr."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    """Of a cluster or of sentinels: some of them, to ask for the rest."""
    path: str = ""
    """Of a Unix socket."""
    service: str = ""
    """What the sentinels call the Redis."""
    db: int = 0
    is_tls: bool = False
    ssl_ca_certs: str | None = None
    """A file of certificate authorities to trust in place of the system's."""
    username: str | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: Secret | None = field(default=None, repr=False)

    @property
    def is_one_server(self) -> bool:
        """Whoever connects meets that server, and no other one behind it."""
        return self.kind in {Kind.SINGLE, Kind.SOCKET}

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.kind.value}://{hosts or self.path}{'/' * bool(self.service)}{self.service}"

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        :raises ConfigurationError: it is none that can be used. No password is part of the message.
        """
        try:
            return cls._parse(url)
        except _Unreadable as error:
            problem = str(error)
        except ValueError:  # of the standard library, which repeats a part of the URL
            problem = "it cannot be read"
        # Raised here so that the exception underneath is not part of it.
        raise ConfigurationError(
            f"the URL of the Redis: {problem}. Write redis://host:6379/0, rediss:// for TLS, "
            "redis+cluster://host:6379, redis+sentinel://host:26379,host:26379/service or unix:///path, and "
            "percent-encode what means something in a URL (/ is %2F, ? is %3F, # is %23, @ is %40)."
        )

    @classmethod
    def _parse(cls, url: str) -> Self:
        parts = urlsplit(url)
        if parts.fragment:
            raise _Unreadable("there is a # in it")
        kind, is_tls = _kind(parts.scheme)
        options: dict[str, Any] = {
            name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
        }
        if set(options) - _OPTIONS:
            raise _Unreadable(f"there is an unknown option; there are {sorted(_OPTIONS)}")
        if given := options.pop("sentinel_password", None):
            options["sentinel_password"] = Secret(given)
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        service, db = _path(kind, parts.path)
        return cls(
            kind=kind,
            hosts=tuple(_host(host, _PORTS[kind]) for host in hosts.split(",")) if kind in _PORTS else (),
            path=unquote(parts.path) if kind is Kind.SOCKET else "",
            service=service,
            db=int(options.pop("db", db)),
            is_tls=is_tls,
            username=unquote(username) or None,
            password=Secret(unquote(password)) if password else None,
            **options,
        )


def _kind(scheme: str) -> tuple[Kind, bool]:
    name = scheme.replace("rediss", "redis", 1)
    for kind in Kind:
        if kind.value == name:
            return kind, name != scheme
    raise _Unreadable(f"the scheme {scheme!r} is not known")


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon or number.endswith(_LONG_HOST):
        host, number = text, str(port)
    if not number.isdecimal():
        raise _Unreadable("a port is a number")
    return host.strip("[]") or "localhost", int(number)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """The service and the database number."""
    if kind is Kind.SOCKET:
        return "", "0"
    first, _, second = path.strip("/").partition("/")
    service, db = (unquote(first), second) if kind is Kind.SENTINEL else ("", first)
    if "@" in service:
        raise _Unreadable("there is an @ in the name of the service")
    if kind is Kind.SENTINEL and not service:
        raise _Unreadable("the name of the service is missing")
    if db and not db.isdecimal():
        raise _Unreadable("a database is a number")
    if kind is Kind.CLUSTER and db not in {"", "0"}:
        raise _Unreadable("a cluster has no database numbers")
    return service, db or "0"
