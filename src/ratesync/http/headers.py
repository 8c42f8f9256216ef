"""Header fields: reading them without regard to case, and making sure that what is sent is one header and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from typing_extensions import override

from ratesync.errors import ConfigurationError
from ratesync.model.secret import Secret

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_OWN = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Set by the client itself: another value would send the request elsewhere, or smuggle in a second one."""

_UNREAD = frozenset({"set-cookie"})
"""Not shown: a session of its own has no place between accounts that share a client."""


class Headers(Mapping[str, str]):
    """Header fields of an answer; names match in any case. Fields that came several times are joined by ``, ``."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name not in _UNREAD:
                self._fields[name] = f"{self._fields[name]}, {value}" if name in self._fields else value

    @override
    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    @override
    def __len__(self) -> int:
        return len(self._fields)

    @override
    def __repr__(self) -> str:
        return f"Headers({', '.join(self._fields)})"


def is_header_value(value: str) -> bool:
    """Tell whether ``value`` can stand in a header: printable ASCII, no space at its ends, not empty."""
    return _VALUE.fullmatch(value) is not None


def checked_headers(headers: Mapping[str, str | Secret]) -> dict[str, str]:
    """The headers with their names in lower case.

    :raises ConfigurationError: a name or a value cannot be sent, or the client sets that header itself.
    """
    checked: dict[str, str] = {}
    for name, given in headers.items():
        value = given.reveal() if isinstance(given, Secret) else given
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a header's name: use letters, digits and hyphens")
        if name.lower() in _OWN:
            raise ConfigurationError(f"header {name!r} is set by the HTTP client: leave it out")
        if not is_header_value(value):
            raise ConfigurationError(f"the value of header {name!r} is empty or not printable ASCII: encode it first")
        checked[name.lower()] = value
    return checked


def kept_headers(headers: Mapping[str, str | Secret]) -> dict[str, Secret]:
    """Headers to be sent with many calls, checked as :func:`checked_headers` does. There may be a key in any of them.

    :raises ConfigurationError: as there.
    """
    return {name: Secret(value) for name, value in checked_headers(headers).items()}


def revealed(headers: Mapping[str, Secret]) -> dict[str, str]:
    """Kept headers as they are sent."""
    return {name: value.reveal() for name, value in headers.items()}
