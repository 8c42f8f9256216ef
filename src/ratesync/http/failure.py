"""What an exception of an HTTP client means: not trusted, surely not sent, or sent and the answer lost.

Exceptions are told by the names of their classes, so that httpx, its forks and other transports under its API are all
understood without being imported.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from ratesync.errors import AnswerLost, NotSent, ProviderError, Untrusted

_NOT_SENT = frozenset(
    {
        # httpx and its forks
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "LocalProtocolError",
        "InvalidURL",
        # aiohttp
        "ClientConnectorError",
        "ClientConnectorCertificateError",
        "ClientHttpProxyError",
        "ConnectionTimeoutError",
        "NonHttpUrlClientError",
    }
)
"""Raised before the first byte of a request leaves. Everything else may come after it."""

_LONGEST_CHAIN = 8


def call_failure(error: Exception, origin: object) -> ProviderError:
    """The error of ours for an exception that a client or transport raised.

    Its message names the kinds of exception and the operating system's or TLS's own word for the problem. It holds
    nothing of the exception's text, in which there may be a URL with its query.
    """
    problem = _problem(error)
    names = _names(_authority(error))
    if names & _NOT_SENT:
        is_broken = str(origin).startswith("https:") and "ProxyError" not in names and any(map(_is_tls, _chain(error)))
        kind = Untrusted if is_broken else NotSent
        return kind(f"no request reached {origin} ({problem})")
    return AnswerLost(f"the answer of {origin} was lost ({problem})")


def _authority(error: Exception) -> BaseException:
    """The exception to go by: that of aiohttp where there is one.

    A transport on aiohttp reports a connection lost in the middle of a call as httpx's ConnectTimeout, which would be
    taken for "not sent".
    """
    cause = error.__cause__
    return cause if cause is not None and type(cause).__module__.partition(".")[0] == "aiohttp" else error


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what was underneath."""
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            break
        yield link
        link = link.__cause__ or link.__context__


def _is_tls(error: BaseException) -> bool:
    """Whether a TLS handshake ended so. A connection that is refused, and not reset, never got that far."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError)  # those two only ask to wait
    return isinstance(error, ConnectionResetError)


def _problem(error: Exception) -> str:
    """The exception's class, and what TLS or the operating system said underneath."""
    for link in _chain(error):
        word = _word(link)
        if word is not None:
            return f"{type(error).__name__}: {word}"
    return type(error).__name__


def _word(error: BaseException) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return getattr(error, "verify_message", None)
        case ssl.SSLError():
            return getattr(error, "reason", None)
        case socket.gaierror():
            return "the host name is not known"
        case OSError():
            return errno.errorcode.get(error.errno or 0)
        case _:
            return None
