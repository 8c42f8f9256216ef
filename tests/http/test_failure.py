from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import httpcore
import httpx
import httpx2
import pytest

from ratesync.errors import AnswerLost, NotSent, Untrusted
from ratesync.http.failure import call_failure

SECRET = "https://api.acme.example/?api_key=s3cr3t"

NOT_SENT = ["ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"]
ANSWER_LOST = ["ReadTimeout", "WriteTimeout", "ReadError", "WriteError", "CloseError", "RemoteProtocolError"]


@pytest.mark.parametrize("package", [httpx, httpx2, httpcore], ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", NOT_SENT)
def test_what_fails_before_the_request_leaves_is_not_sent(package: object, name: str) -> None:
    failure = call_failure(getattr(package, name)(SECRET), "https://api.acme.example")
    assert type(failure) is NotSent
    assert str(failure) == f"no request reached https://api.acme.example ({name})"


@pytest.mark.parametrize("package", [httpx, httpx2], ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", [*ANSWER_LOST, "DecodingError", "TooManyRedirects", "TransportError"])
def test_what_fails_later_may_have_been_applied(package: object, name: str) -> None:
    failure = call_failure(getattr(package, name)(SECRET), "https://api.acme.example")
    assert type(failure) is AnswerLost
    assert str(failure) == f"the answer of https://api.acme.example was lost ({name})"


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), RuntimeError(SECRET), OSError(SECRET), ExceptionGroup(SECRET, [ValueError()])]
)
def test_what_nobody_has_heard_of_may_have_been_applied(error: Exception) -> None:
    failure = call_failure(error, "https://api.acme.example")
    assert type(failure) is AnswerLost
    assert "s3cr3t" not in str(failure)


def test_a_subclass_is_told_by_its_family() -> None:
    class SlowProxy(httpx.ConnectTimeout):
        """Of somebody's own transport."""

    assert type(call_failure(SlowProxy("x"), "x")) is NotSent


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("cause", [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(errno.ECONNRESET, "x")])
def test_a_connection_lost_under_aiohttp_is_not_taken_for_one_never_made(cause: Exception) -> None:
    """httpx-aiohttp reports both as ConnectTimeout."""
    assert type(call_failure(caused(httpx.ConnectTimeout("x"), cause), "x")) is AnswerLost


def test_a_connection_never_made_under_aiohttp_is_not_sent() -> None:
    for cause in (aiohttp.ConnectionTimeoutError(), aiohttp.NonHttpUrlClientError("x")):
        assert type(call_failure(caused(httpx.TimeoutException("x"), cause), "x")) is NotSent


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (ssl.SSLCertVerificationError(1, SECRET), Untrusted),
        (ssl.SSLEOFError(8, SECRET), Untrusted),
        (ssl.SSLError(1, SECRET), Untrusted),
        (ConnectionResetError(errno.ECONNRESET, SECRET), Untrusted),
        (ssl.SSLWantReadError(2, SECRET), NotSent),
        (ssl.SSLWantWriteError(3, SECRET), NotSent),
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), NotSent),
        (TimeoutError(SECRET), NotSent),
    ],
)
def test_case_53_a_broken_handshake_is_told_from_a_connection_that_was_not_made(
    cause: BaseException, kind: type[NotSent]
) -> None:
    error = caused(httpx.ConnectError("x"), caused(httpcore.ConnectError("x"), cause))
    assert type(call_failure(error, "https://api.acme.example")) is kind
    assert type(call_failure(error, "http://api.acme.example")) is NotSent
    assert type(call_failure(caused(httpx.ProxyError("x"), cause), "https://api.acme.example")) is NotSent
    assert type(call_failure(caused(httpx.ReadError("x"), cause), "https://api.acme.example")) is AnswerLost


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), "ECONNREFUSED"),
        (socket.gaierror(socket.EAI_NONAME, SECRET), "the host name is not known"),
        (ssl.SSLError(1, SECRET), None),
        (OSError(SECRET), None),
    ],
)
def test_the_system_s_word_for_the_problem_is_told(cause: BaseException, word: str | None) -> None:
    text = str(call_failure(caused(httpx.ConnectError("x"), caused(httpcore.ConnectError("x"), cause)), "x"))
    assert text == f"no request reached x (ConnectError{'' if word is None else ': ' + word})"


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    error = httpx.ReadError("x")
    error.__context__ = caused(ValueError(), error)
    assert type(call_failure(error, "x")) is AnswerLost
