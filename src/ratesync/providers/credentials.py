"""Headers that authenticate a connection, as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ratesync.errors import NotSent, ProviderError, Unauthorised
from ratesync.model.secret import Secret

Credentials = Mapping[str, Mapping[str, str | Secret]] | Callable[[str], Mapping[str, str | Secret]]
"""The headers that authenticate each connection, by its name."""


def kept_credentials(credentials: Credentials) -> Callable[[str], Mapping[str, str | Secret]]:
    """The credentials as a function, which shows none of them."""
    return credentials if callable(credentials) else lambda connection: credentials[connection]


def credential_headers(credentials: Credentials, connection: str) -> Mapping[str, str | Secret]:
    """The headers of a connection.

    :raises Unauthorised: there are none for it (LookupError). :raises NotSent: asking for them failed.
    """
    try:
        return credentials(connection) if callable(credentials) else credentials[connection]
    except LookupError:
        problem: ProviderError = Unauthorised(f"there are no credentials for connection {connection!r}")
    except Exception as error:  # noqa: BLE001  the host's function may raise anything
        problem = NotSent(f"the credentials of connection {connection!r} failed with {type(error).__name__}")
    # Raised here so that the exception underneath, which may hold a secret, is not part of it.
    raise problem
