"""Asking a token endpoint for tokens (RFC 6749, sections 2.3 and 5)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self
from urllib.parse import quote_plus, urlencode

from attrs import evolve
from typing_extensions import override

from ratesync.clock import Clock, SystemClock
from ratesync.errors import (
    ConfigurationError,
    InvalidResponse,
    NeedsReauth,
    NotSent,
    ProviderError,
    Throttled,
    Unavailable,
)
from ratesync.http.caller import HttpCaller
from ratesync.http.guard import AddressGuard
from ratesync.http.refusal import refusal_in
from ratesync.http.response import Response
from ratesync.model.secret import Secret
from ratesync.rules.masking import mask_text, secrets_in_form
from ratesync.rules.tokens import Tokens, read_refusal, read_tokens

if TYPE_CHECKING:
    import httpx

_MAX_BYTES = 256 * 1024
TIMEOUT = 15.0
"""Seconds for a token request."""


class TokenEndpoint:
    """One client at one token endpoint. Its calls are as safe as all of :class:`HttpCaller`'s.

    :param url: the endpoint, as in ``https://login.example.com/oauth/token``.
    :param client_id: the client's name there. Default None: not sent.
    :param client_secret: default None, for clients that have none.
    :param in_body: send name and secret as fields of the form, as some providers want it, not as HTTP Basic.
    :param transport: of httpx's kind, closed with the endpoint. Default: one of our own.
    :param timeout: seconds for a token request. Default 15.
    :param clock: tells from when a token lives. Default: the system's.
    :param guard: says which addresses may be called, where users of the host configure the URL. Default: all. Not
        together with ``transport``.
    :raises ConfigurationError: the URL cannot be used, or what was given does not go together.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        client_secret: str | Secret | None = None,
        in_body: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = TIMEOUT,
        clock: Clock | None = None,
        guard: AddressGuard | None = None,
    ) -> None:
        if client_secret is not None and client_id is None:
            raise ConfigurationError("a client_secret needs a client_id")
        self._caller = HttpCaller(
            url, transport=transport, timeout=timeout, max_response_bytes=_MAX_BYTES, max_connections=2, guard=guard
        )
        self._url = url
        self._client_id = client_id
        self._client_secret = None if client_secret is None else Secret.of(client_secret)
        self._in_body = in_body or client_secret is None
        self.timeout = timeout
        self._clock = clock or SystemClock()

    async def ask(self, form: Mapping[str, str], held: Tokens | None) -> Tokens:
        """New tokens for the fields of a grant.

        No error of it says that an operation may have been carried out: none was sent.

        :raises NeedsReauth: refused for good. :raises Throttled: asked to slow down.
        :raises Unavailable: it cannot serve now. :raises NotSent: no tokens came, for any other reason.
        """
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if self._in_body:
            form = {**form, **self._client_fields()}
        else:
            headers["authorization"] = self._basic()
        asked_at = self._clock.now()
        try:
            response = await self._caller.send("POST", self._url, content=urlencode(form).encode(), headers=headers)
            response = evolve(response, secrets=(*response.secrets, *secrets_in_form(form)))
            return self._read(response, asked_at, held)
        except (NeedsReauth, NotSent, Throttled, Unavailable):
            raise
        except ProviderError as error:
            problem = str(error)
        raise NotSent(f"no token could be had: {problem}")

    def _read(self, response: Response, asked_at: float, held: Tokens | None) -> Tokens:
        try:
            body = response.json()
        except InvalidResponse:
            body = None
        refusal = read_refusal(response.status, body)
        if refusal is not None and refusal.is_final:
            raise NeedsReauth(f"{self._caller.origin} gives no new token: {refusal.code}", code=refusal.code)
        failure = refusal_in(response, now=asked_at)
        if isinstance(failure, Throttled | Unavailable):
            raise failure
        if failure is not None or refusal is not None:
            code = "" if refusal is None else f", {mask_text(refusal.code, response.secrets)}"
            raise NotSent(f"no token could be had from {self._caller.origin} (HTTP {response.status}{code})")
        return read_tokens(body, asked_at, held)

    def _client_fields(self) -> dict[str, str]:
        fields = {"client_id": self._client_id, "client_secret": self._client_secret and self._client_secret.reveal()}
        return {name: value for name, value in fields.items() if value is not None}

    def _basic(self) -> str:
        """Name and secret are form-encoded first, as the RFC has it."""
        secret = "" if self._client_secret is None else self._client_secret.reveal()
        pair = f"{quote_plus(self._client_id or '')}:{quote_plus(secret)}"
        return f"Basic {b64encode(pair.encode()).decode()}"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._caller.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @override
    def __repr__(self) -> str:
        return f"TokenEndpoint('{self._caller.origin}')"
