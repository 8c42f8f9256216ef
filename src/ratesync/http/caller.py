"""Calling one provider's API: bounded in time and size, bound to one origin, with one typed error for each failure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Self

import anyio
import httpx
from typing_extensions import override

from ratesync.errors import CallTimeout, ConfigurationError, NotSent, RateSyncError, UnsafeRedirect
from ratesync.http.auth_flow import authenticated
from ratesync.http.body import CLOSE_TIMEOUT, read_body
from ratesync.http.exchange import (
    ClientExchange,
    Exchange,
    HttpClient,
    RawResponse,
    RequestT,
    TransportExchange,
    sender_over,
    timeouts,
)
from ratesync.http.failure import call_failure
from ratesync.http.guard import AddressGuard, GuardedTransport
from ratesync.http.headers import Headers, checked_headers, kept_headers, revealed
from ratesync.http.log_filter import redact_http_logs
from ratesync.http.origin import Origin
from ratesync.http.payload import encode_json
from ratesync.http.preview import previewed
from ratesync.http.response import Response
from ratesync.http.sent import secrets_in_path, secrets_sent
from ratesync.model.secret import Secret
from ratesync.protocols.preview import recorded
from ratesync.protocols.sending import note_sending

DEFAULT_TIMEOUT = 30.0
"""Seconds that a whole call may take."""
DEFAULT_MAX_RESPONSE_BYTES = 10 * 1024 * 1024
"""Largest answer, on the wire and decoded."""
DEFAULT_MAX_CONNECTIONS = 10
"""Connections of a pool of ours: httpx's own pool slows down with more."""

_METHOD = re.compile(r"[A-Z]+")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_DRY = "a dry run sends nothing"


class HttpCaller:
    """Makes calls to one origin.

    What holds for every call:

    * It ends within ``timeout`` seconds, from waiting for a free connection to the last byte of the answer.
    * Of its answer no more than ``max_response_bytes`` are read or unfolded.
    * Nothing goes to another origin than ``base_url``'s: no redirect, no credentials, no body. A GET follows up to 3
      redirects within the origin; any other redirect is an error.
    * Whatever the client, the transport or the network does, what is raised is a
      :class:`~ratesync.errors.ProviderError` that says whether the request may have reached the provider. Its message
      names the origin only: no path, query, header or body.

    By default it has a transport of its own, ``httpx.AsyncHTTPTransport`` with TLS verified, and nothing read from the
    environment. Give ``transport`` to use another one of httpx's kind (it is closed with the caller), or ``client`` to
    use the host's ``httpx.AsyncClient`` or httpx2's (it is never closed here; its headers, authentication and event
    hooks apply, its cookies, redirects and timeouts do not).

    ``auth`` is one of :mod:`ratesync.http`'s objects or any other of httpx's kind. It is asked anew for each redirect
    followed, sees the origin's requests only, and what it adds is masked in reasons (:func:`read_outcome`),
    as are the values of all headers that are not known to be harmless, those of the host's client too, and keys in the
    path of ``base_url``.

    httpx logs the URL of every request made over a client at level INFO, and httpcore the headers of answers at DEBUG.
    The first caller makes those lines harmless (:func:`redact_http_logs`). All the same, credentials belong into
    headers, not into ``params``.

    :param base_url: where paths begin, as in ``https://api.example.com/v1``. Default: the client's.
    :param headers: sent with every request, texts or :class:`~ratesync.Secret`; httpx's and ours come behind them.
    :param auth: authenticates every request. Default None.
    :param timeout: seconds for a whole call, renewing a token included. Default 30.
    :param max_response_bytes: default 10 MiB.
    :param max_connections: of the transport that is made here. Default 10.
    :param guard: says which addresses that transport may call: for base URLs that users of the host configure. Default:
        all. (:func:`fast_transport` takes one, too.)
    :raises ConfigurationError: the URL, a header or a bound cannot be used.
    """

    records_requests = True
    """In a dry run calls are noted instead of made, see :func:`ratesync.protocols.preview.recording`."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        client: HttpClient[RequestT] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        auth: httpx.Auth | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        guard: AddressGuard | None = None,
    ) -> None:
        if guard is not None and (client is not None or transport is not None):
            raise ConfigurationError("a guard works in the caller's own transport: leave client and transport out")
        if client is not None and transport is not None:
            raise ConfigurationError("give a client or a transport, not both")
        if not 0 < timeout < math.inf:
            raise ConfigurationError(
                f"timeout must be a number of seconds above 0: leave it out for {DEFAULT_TIMEOUT:g}"
            )
        if max_response_bytes < 1 or max_connections < 1:
            raise ConfigurationError("max_response_bytes and max_connections must be at least 1")
        if base_url is None:
            base_url = "" if client is None else str(client.base_url)
        redact_http_logs()
        self.origin = Origin.of(base_url)
        self._in_path = secrets_in_path(self.origin.base)
        self._timeout = timeout
        self._limit = max_response_bytes
        self._auth = auth
        given = kept_headers(headers or {})
        self._headers = kept_headers({"accept": "application/json", "accept-encoding": "identity"}) | given
        self._exchange: Exchange
        if client is not None:
            self._exchange = ClientExchange(client, timeouts(timeout))
        else:
            self._headers.setdefault("user-agent", Secret("ratesync"))
            transport = transport or _own_transport(max_connections, guard)
            self._exchange = TransportExchange(transport, sender_over(transport, timeout))

    async def send(
        self,
        method: str,
        target: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        auth: httpx.Auth | None = None,
    ) -> Response:
        """Make one call and read the whole answer, whatever its status.

        :param target: a percent-encoded path below ``base_url``, or an absolute URL at the same origin.
        :param params: added to the query, encoded here.
        :param json: sent as JSON unless None. :param content: bytes to send as they are, instead.
        :param headers: for this call; they win over the caller's own.
        :param auth: authenticates this call, in place of the caller's own.
        :raises NotSent: the request surely did not reach the provider.
        :raises Untrusted: nor did it find one that could prove to be the provider: TLS failed.
        :raises CallTimeout: ``timeout`` passed. :raises AnswerLost: sent, and no whole answer came back.
        :raises InvalidResponse: the answer's encoding cannot be undone.
        :raises ResponseTooLarge: the answer is larger than allowed.
        :raises UnsafeRedirect: the answer, or ``target``, points somewhere else.
        :raises InvalidPayload: ``json`` cannot be written as JSON.
        :raises ConfigurationError: method, path or headers cannot be sent.
        """
        checked_method(method)
        prepared = revealed(self._headers) | checked_headers(headers or {})
        if json is not None:
            content = encode_json(json)
            prepared.setdefault("content-type", "application/json")
        url = self.origin.url(target, params)
        noted = recorded()
        if noted is not None:
            noted.append(previewed(method, url, prepared, content, auth or self._auth, known=self._in_path))
            raise NotSent(_DRY)
        with anyio.move_on_after(self._timeout):
            return await self._follow(method, url, prepared, content, auth or self._auth)
        raise CallTimeout(f"no whole answer from {self.origin} within {self._timeout:g} s")

    async def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        auth: httpx.Auth | None,
    ) -> Response:
        for _ in range(_MAX_REDIRECTS + 1):
            if auth is None:
                response = await self._call(method, url, headers, content)
            else:
                response = await authenticated(auth, method, url, headers, content, origin=self.origin, call=self._call)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            url = self.origin.redirect(url, location)
            if method != "GET":
                raise UnsafeRedirect(f"{self.origin} redirected a {method}: only a GET is followed")
        raise UnsafeRedirect(f"{self.origin} redirected more than {_MAX_REDIRECTS} times")

    async def _call(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Response:
        if self._exchange.is_closed:
            raise NotSent("the HTTP client is closed: open a new one")
        if recorded() is not None:
            raise NotSent(_DRY)
        try:
            note_sending()
            raw = await self._exchange.open(method, url, headers, content)
            fields = Headers(raw.headers.raw)
            body = await read_body(raw, fields, self._limit)
            return Response(raw.status_code, fields, body, self._secrets(url, headers, raw))
        except RateSyncError:
            raise
        except Exception as error:  # noqa: BLE001  transports and the host's hooks may raise anything
            answer, failure = _answer_in(error), call_failure(error, self.origin)
        # Raised here so that the exception underneath, which may hold a URL with its query, is not part of it.
        if answer is None:
            raise failure
        secrets = self._secrets(url, headers, answer)
        return Response(answer.status_code, Headers(answer.headers.raw), secrets=secrets)

    def _secrets(self, url: str, headers: Mapping[str, str], answer: RawResponse) -> tuple[Secret, ...]:
        return (*secrets_sent(url, headers, self._exchange.sent(answer)), *self._in_path)

    async def aclose(self) -> None:
        """Close the transport; a client of the host's stays open."""
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @override
    def __repr__(self) -> str:
        return f"HttpCaller('{self.origin}')"


def checked_method(method: str) -> str:
    """The method.

    :raises ConfigurationError: it is none.
    """
    if not _METHOD.fullmatch(method):
        raise ConfigurationError(f"{method!r} is not an HTTP method: use capital letters")
    return method


def _own_transport(max_connections: int, guard: AddressGuard | None) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    if guard is not None:
        return GuardedTransport(guard, limits)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


def _answer_in(error: Exception) -> RawResponse | None:
    """The answer that an event hook of the host's client made into an exception (``raise_for_status``)."""
    return getattr(error, "response", None) if type(error).__name__ == "HTTPStatusError" else None
