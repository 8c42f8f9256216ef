"""Authentication as objects: for ``auth=`` of :class:`HttpCaller`, of one call, or of a host's own ``httpx`` client."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Generator, Mapping
from http import HTTPStatus

import httpx
from typing_extensions import override

from ratesync.errors import ConfigurationError, UnsafeRedirect
from ratesync.http.auth_flow import HeaderAuth
from ratesync.http.headers import checked_headers
from ratesync.http.log_filter import redact_http_logs
from ratesync.http.origin import Origin
from ratesync.http.preview import preview_auth
from ratesync.http.token_keeper import TokenKeeper
from ratesync.model.secret import MASK, Sealed, Secret
from ratesync.rules.tokens import Tokens

AuthFlow = AsyncGenerator[httpx.Request, httpx.Response]


class _Auth(Sealed, httpx.Auth):
    """Shows nothing of itself."""

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ApiKey(_Auth, HeaderAuth):
    """A key in a header.

    :param header: default ``X-API-Key``.
    :param prefix: stands before the key, such as ``"Token "``.
    :raises ConfigurationError: that cannot stand in a header.
    """

    def __init__(self, key: str | Secret, *, header: str = "X-API-Key", prefix: str = "") -> None:
        self._value = Secret(prefix + Secret.of(key).reveal())
        checked_headers({header: self._value.reveal()})
        self._header = header

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers[self._header] = self._value.reveal()
        yield request

    @override
    async def header_flow(self) -> AsyncGenerator[Mapping[str, str], int]:
        yield {self._header.lower(): self._value.reveal()}

    def preview(self, request: httpx.Request) -> None:
        """Add what this adds, masked: for a dry run."""
        request.headers[self._header] = MASK


class Bearer(ApiKey):
    """A token that does not change: ``Authorization: Bearer ...``."""

    def __init__(self, token: str | Secret) -> None:
        super().__init__(token, header="Authorization", prefix="Bearer ")


class Basic(ApiKey):
    """User and password (RFC 7617).

    :raises ConfigurationError: the user has a colon in it.
    """

    def __init__(self, user: str, password: str | Secret) -> None:
        if ":" in user:
            raise ConfigurationError("a user's name for HTTP Basic must have no colon in it")
        pair = f"{user}:{Secret.of(password).reveal()}".encode()
        super().__init__(b64encode(pair).decode(), header="Authorization", prefix="Basic ")


class QueryKey(_Auth):
    """A key in the query, for providers that take it nowhere else: a URL ends up in logs and proxies.

    httpx's own log lines are redacted from then on (:func:`redact_http_logs`).

    :param param: default ``api_key``.
    """

    def __init__(self, key: str | Secret, *, param: str = "api_key") -> None:
        self._key, self._param = Secret.of(key), param
        redact_http_logs()

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.url = request.url.copy_set_param(self._param, self._key.reveal())
        yield request

    def preview(self, request: httpx.Request) -> None:
        """Add what this adds, masked: for a dry run."""
        request.url = request.url.copy_set_param(self._param, MASK)


class OAuth2(_Auth, HeaderAuth):
    """A bearer token that a :class:`TokenKeeper` keeps fresh.

    A 401 is answered with a renewal, one for all calls that met it, and one more try of the call. That try is a call
    more than the engine took a permit for; as tokens are renewed before they run out, it is rare.

    :param header: where the token is sent. Default ``Authorization``. :param scheme: stands before it.
    """

    def __init__(self, keeper: TokenKeeper, *, header: str = "Authorization", scheme: str = "Bearer") -> None:
        checked_headers({header: scheme})
        self._keeper, self._header, self._scheme = keeper, header, scheme

    @override
    async def async_auth_flow(self, request: httpx.Request) -> AuthFlow:
        tokens = await self._keeper.tokens()
        request.headers[self._header] = self._value(tokens)
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED and isinstance(request.stream, httpx.ByteStream):
            request.headers[self._header] = self._value(await self._keeper.tokens(refused=tokens))
            yield request

    @override
    async def header_flow(self) -> AsyncGenerator[Mapping[str, str], int]:
        tokens = await self._keeper.tokens()
        status = yield {self._header.lower(): self._value(tokens)}
        if status == HTTPStatus.UNAUTHORIZED:
            yield {self._header.lower(): self._value(await self._keeper.tokens(refused=tokens))}

    @override
    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        raise ConfigurationError("OAuth2 is for asynchronous clients: use httpx.AsyncClient")

    def preview(self, request: httpx.Request) -> None:
        """Add what this adds, masked: for a dry run. No token is asked for."""
        request.headers[self._header] = f"{self._scheme} {MASK}"

    def _value(self, tokens: Tokens) -> str:
        return f"{self._scheme} {tokens.access.reveal()}"


class Chain(_Auth):
    """Several after each other, such as a key and a signature. Each sees what those before it have added."""

    def __init__(self, first: httpx.Auth, *rest: httpx.Auth) -> None:
        self._first = first
        self._rest = Chain(*rest) if rest else None

    def preview(self, request: httpx.Request) -> None:
        """Add what these add, masked: for a dry run."""
        for auth in (self._first, self._rest):
            preview_auth(auth, request)

    @override
    async def async_auth_flow(self, request: httpx.Request) -> AuthFlow:
        flow = self._first.async_auth_flow(request)
        try:
            prepared = await anext(flow)
            while True:
                if self._rest is None:
                    response = yield prepared
                else:
                    inner = self._rest.async_auth_flow(prepared)
                    try:
                        response = yield await anext(inner)
                        while True:
                            try:
                                again = await inner.asend(response)
                            except StopAsyncIteration:
                                break
                            response = yield again
                    finally:
                        await inner.aclose()
                try:
                    prepared = await flow.asend(response)
                except StopAsyncIteration:
                    return
        finally:
            await flow.aclose()


class OnlyAt(_Auth):
    """Credentials for one origin: a request to another one is refused, not sent without them.

    :class:`HttpCaller` is bound to its origin anyway. This is for a host's own client, together with
    :class:`BoundTransport` if it follows redirects: httpx sends on every header but ``Authorization``, and the body.

    :raises ConfigurationError: the origin is no URL of http or https.
    """

    def __init__(self, origin: str, auth: httpx.Auth) -> None:
        self._origin, self._auth = Origin.of(origin), auth
        self.requires_request_body = auth.requires_request_body
        self.requires_response_body = auth.requires_response_body

    def preview(self, request: httpx.Request) -> None:
        """Add what it adds, masked: for a dry run."""
        preview_auth(self._auth, request)

    @override
    async def async_auth_flow(self, request: httpx.Request) -> AuthFlow:
        check_origin(self._origin, request.url)
        flow = self._auth.async_auth_flow(request)
        try:
            prepared = await anext(flow)
            while True:
                check_origin(self._origin, prepared.url)
                response = yield prepared
                try:
                    prepared = await flow.asend(response)
                except StopAsyncIteration:
                    return
        finally:
            await flow.aclose()


class BoundTransport(httpx.AsyncBaseTransport):
    """Lets requests to one origin through, and no others: also not those that a client makes of a redirect."""

    def __init__(self, origin: str, transport: httpx.AsyncBaseTransport) -> None:
        self._origin, self._transport = Origin.of(origin), transport

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        check_origin(self._origin, request.url)
        return await self._transport.handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()


def check_origin(origin: Origin, url: httpx.URL) -> None:
    """Make sure that a request goes where it may.

    :raises UnsafeRedirect: it does not.
    """
    if not origin.owns(url):
        raise UnsafeRedirect(f"credentials are for {origin} only: nothing was sent elsewhere")
