"""Sending one request and getting the head of its answer: over a transport of ours or over the host's client.

Both are described by protocols, so that clients of httpx's forks with the same API are accepted as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast

import httpx
from attrs import define

RequestT = TypeVar("RequestT", bound="RawRequest")


class RawFields(Protocol):
    """Header fields of an answer."""

    @property
    def raw(self) -> Iterable[tuple[bytes, bytes]]:
        """Names and values, as on the wire."""
        ...


class RawHeaders(RawFields, Protocol):
    """Header fields of a request, as httpx keeps them."""

    def pop(self, key: str, default: str, /) -> str:
        """Take a field out."""
        ...


class RawRequest(Protocol):
    """A request that a client has built."""

    @property
    def headers(self) -> RawHeaders:
        """What will be sent."""
        ...

    @property
    def url(self) -> object:
        """Its text is where it goes."""
        ...


class RawResponse(Protocol):
    """An answer whose body was not read yet."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> RawFields:
        """The header fields."""
        ...

    @property
    def is_stream_consumed(self) -> bool:
        """Somebody has read the body before us: it is in ``content``."""
        ...

    @property
    def content(self) -> bytes:
        """The decoded body, where it was read."""
        ...

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body as it comes, not decoded."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end."""
        ...


class ClientResponse(RawResponse, Protocol):
    """An answer that a client gives."""

    @property
    def request(self) -> RawRequest:
        """What it answers, as it was sent."""
        ...


class HttpClient(Protocol[RequestT]):
    """What is used of ``httpx.AsyncClient``; that of httpx2 has it too."""

    @property
    def base_url(self) -> object:
        """Its text is the base URL, empty if there is none."""
        ...

    @property
    def is_closed(self) -> bool:
        """No request can be sent any more."""
        ...

    def build_request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        extensions: dict[str, Any],
    ) -> RequestT:
        """Make a request with the client's own headers and parameters in it."""
        ...

    async def send(self, request: RequestT, *, stream: bool, follow_redirects: bool) -> ClientResponse:
        """Send it, authenticated as the client is set up."""
        ...


class Exchange(Protocol):
    """A way to send a request."""

    @property
    def is_closed(self) -> bool:
        """No request can be sent any more."""
        ...

    async def open(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> RawResponse:
        """Send a request; returns when the head of the answer is there. Never follows a redirect."""
        ...

    def sent(self, raw: RawResponse) -> RawRequest | None:
        """The request that was answered, where a client of the host's has added to ours. None: nobody has."""
        ...

    async def aclose(self) -> None:
        """Close what is ours."""
        ...


Sender = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[RawResponse]]
"""Sends method, URL, header fields and body, as :meth:`Exchange.open` does."""


class DirectTransport(httpx.AsyncBaseTransport, ABC):
    """A transport that can do without httpx's requests and answers, which cost more than all the rest of a call."""

    @abstractmethod
    def sender(self, total: float) -> Sender:
        """A way past httpx, for calls of at most ``total`` seconds. The total is watched by the caller."""


def sender_over(transport: httpx.AsyncBaseTransport, total: float) -> Sender:
    """The shortest way to send over a transport."""
    if isinstance(transport, DirectTransport):
        return transport.sender(total)
    extensions = timeouts(total)

    async def send(method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> RawResponse:
        request = httpx.Request(method, url, headers=headers, content=content, extensions=extensions)
        return await transport.handle_async_request(request)

    return send


def timeouts(total: float) -> dict[str, Any]:
    """Timeouts of the single steps, in the form that httpx's transports understand.

    Waiting for a free connection and connecting may each take a third of the total, so that they fail by themselves:
    then it is known that nothing was sent. The total is watched by the caller, as these hold for each read alone.
    """
    return {"timeout": {"pool": total / 3, "connect": total / 3, "read": total, "write": total}}


@define
class TransportExchange:
    """Over a transport, without a client around it: no cookies, no redirects, no log line with the URL, half the work.

    The transport is ours: it is closed with the exchange.
    """

    _transport: httpx.AsyncBaseTransport
    _send: Sender
    is_closed: bool = False

    async def open(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> RawResponse:
        """Send a request; returns when the head of the answer is there."""
        return await self._send(method, url, headers, content)

    def sent(self, raw: RawResponse) -> RawRequest | None:
        """What is sent is what was given."""
        return None

    async def aclose(self) -> None:
        """Close the transport."""
        self.is_closed = True
        await self._transport.aclose()


@define
class ClientExchange(Generic[RequestT]):
    """Over the host's client, with its headers, authentication and event hooks. It stays the host's: never closed here.

    What the client's cookie jar would add is left out: a session of one account must not reach another one's requests.
    """

    _client: HttpClient[RequestT]
    _extensions: dict[str, Any]

    @property
    def is_closed(self) -> bool:
        """The host has closed its client."""
        return self._client.is_closed

    async def open(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> RawResponse:
        """Send a request; returns when the head of the answer is there. Redirects are off, whatever the client says."""
        request = self._client.build_request(method, url, headers=headers, content=content, extensions=self._extensions)
        if "cookie" not in headers:
            request.headers.pop("cookie", "")
        return await self._client.send(request, stream=True, follow_redirects=False)

    def sent(self, raw: RawResponse) -> RawRequest | None:
        """The request with the client's headers, parameters and authentication."""
        return cast("ClientResponse", raw).request

    async def aclose(self) -> None:
        """Nothing to close: the client is the host's."""
