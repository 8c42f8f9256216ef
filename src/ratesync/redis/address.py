"""Where a Redis is, as a URL says it."""

from __future__ import annotations

from enum import Enum
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import field, frozen

from ratesync.errors import ConfigurationError


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
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)

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
        except ValueError as error:
            raise ConfigurationError(
                f"the URL of the Redis: {error}. Write redis://host:6379/0, rediss:// for TLS, "
                "redis+cluster://host:6379, redis+sentinel://host:26379,host:26379/service or unix:///path."
            ) from None

    @classmethod
    def _parse(cls, url: str) -> Self:
        parts = urlsplit(url)
        kind, is_tls = _kind(parts.scheme)
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        if unknown := sorted(set(options) - _OPTIONS):
            raise ValueError(f"the option {unknown[0]!r} is not known; there are {sorted(_OPTIONS)}")
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
            password=unquote(password) or None,
            **options,  # pyright: ignore[reportArgumentType]  the rest of the options are texts
        )


def _kind(scheme: str) -> tuple[Kind, bool]:
    name = scheme.replace("rediss", "redis", 1)
    for kind in Kind:
        if kind.value == name:
            return kind, name != scheme
    raise ValueError(f"the scheme {scheme!r} is not known")


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon or number.endswith(_LONG_HOST):
        host, number = text, str(port)
    if not number.isdecimal():
        raise ValueError("a port is a number")
    return host.strip("[]") or "localhost", int(number)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """The service and the database number."""
    if kind is Kind.SOCKET:
        return "", "0"
    first, _, second = path.strip("/").partition("/")
    service, db = (unquote(first), second) if kind is Kind.SENTINEL else ("", first)
    if kind is Kind.SENTINEL and not service:
        raise ValueError("the name of the service is missing")
    if db and not db.isdecimal():
        raise ValueError("a database is a number")
    if kind is Kind.CLUSTER and db not in {"", "0"}:
        raise ValueError("a cluster has no database numbers")
    return service, db or "0"
