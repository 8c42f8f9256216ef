"""A transport of httpx's kind that goes wrong as told, before a provider that works."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
from typing_extensions import override

from ratesync.testing.trouble import OF_ROWS, UNSENT, Trouble

_PAGE = b"<!doctype html><html><body><p>Please log in to the hotel's network.</p></body></html>"
_DEEP = b"[" * 10_000 + b"]" * 10_000
_BLOCK = b"[" * 65_536
_GIGABYTES = 2 * 1024**3
_ELSEWHERE = "https://elsewhere.invalid/"
_DELAY = 0.01
_RETRY_AFTER = "1"
_REFUSED = 422
_NAMING = ("id", "key", "path", "reference", "trace", "url")
"""Parts of the names of what a row is known by."""


class FaultyTransport(httpx.AsyncBaseTransport):
    """Lets requests through to a working provider, each with the trouble that its script has for it.

    ::

        transport = FaultyTransport(httpx.AsyncHTTPTransport(), [Trouble.LOST])
        adapter = AcmeContacts(HttpCaller("https://api.acme.example", transport=transport))

    ``met`` counts the troubles that requests have met, ``requests`` all requests, and ``strays`` names the hosts, other
    than the first request's, that were called: nothing is sent there.

    :param inner: leads to the provider that works. It is closed with this one.
    :param script: the troubles of the coming requests; None: none. Behind its end all goes well.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, script: Iterable[Trouble | None] = ()) -> None:
        self.met: Counter[Trouble] = Counter()
        self.requests = 0
        self.strays: list[str] = []
        self._inner = inner
        self._script = iter(script)
        self._home: tuple[str, str, int | None] | None = None

    def play(self, *script: Trouble | None) -> None:
        """Put another script in place of what is left of the one before."""
        self._script = iter(script)

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        self.requests += 1
        here = (request.url.scheme, request.url.host, request.url.port)
        self._home = self._home or here
        if here != self._home:
            self.strays.append(request.url.host)
            raise httpx.ConnectError("this is another host", request=request)
        trouble = next(self._script, None)
        if trouble is None:
            return await self._inner.handle_async_request(request)
        self.met[trouble] += 1
        if trouble in UNSENT:
            return _instead(trouble, request)
        return await self._after(trouble, request)

    async def _after(self, trouble: Trouble, request: httpx.Request) -> httpx.Response:
        """Let the provider do it, and spoil its answer."""
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        await answer.aclose()
        match trouble:
            case Trouble.DELAYED:
                await anyio.sleep(_DELAY)
            case Trouble.LOST:
                raise httpx.ReadError("the connection broke", request=request)
            case Trouble.LATE:
                raise httpx.ReadTimeout("no answer in time", request=request)
            case Trouble.SILENT:
                await anyio.sleep_forever()
            case Trouble.BROKEN:
                return httpx.Response(500, json={"error": "something went wrong"})
            case Trouble.TRUNCATED:
                return _answer(answer.status_code, _CutOff(body[: len(body) // 2], request))
            case Trouble.ENDLESS | Trouble.DECLARED_HUGE | Trouble.DRIPPING:
                drip = _Endless(b" ", every=_DELAY) if trouble is Trouble.DRIPPING else _Endless()
                return _answer(answer.status_code, drip, is_huge=trouble is Trouble.DECLARED_HUGE)
            case Trouble.MISTYPED:
                return httpx.Response(answer.status_code, text="OK")
            case _:
                body = _spoilt(trouble, body)
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in _UNDONE]
        return httpx.Response(answer.status_code, headers=headers, content=body)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


def random_troubles(
    seed: int, *, share: float = 0.3, among: Sequence[Trouble] = tuple(Trouble)
) -> Iterator[Trouble | None]:
    """An endless script in which a ``share`` of the requests meets a trouble; the same for the same seed."""
    source = random.Random(seed)
    while True:
        yield source.choice(among) if source.random() < share else None


_UNDONE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


def _instead(trouble: Trouble, request: httpx.Request) -> httpx.Response:
    """The answer to a request that does not reach the provider."""
    match trouble:
        case Trouble.THROTTLED:
            return httpx.Response(429, headers={"retry-after": _RETRY_AFTER}, json={"error": "too many requests"})
        case Trouble.UNAVAILABLE:
            return httpx.Response(503, headers={"retry-after": _RETRY_AFTER}, json={"error": "down for repairs"})
        case Trouble.FAILED:
            return httpx.Response(500, json={"error": "something went wrong"})
        case Trouble.INTRUDED:
            return httpx.Response(200, headers={"content-type": "text/html"}, content=_PAGE)
        case Trouble.HIDDEN:
            return httpx.Response(404, headers={"content-type": "text/html"}, content=_PAGE)
        case Trouble.REDIRECTED:
            return httpx.Response(307, headers={"location": _ELSEWHERE})
        case _:
            raise httpx.ConnectError("the connection was refused", request=request)


def _spoilt(trouble: Trouble, body: bytes) -> bytes:
    if trouble is Trouble.EMPTY:
        return b""
    if trouble is Trouble.DEEP:
        return _DEEP
    if trouble is Trouble.GARBLED:
        return body[: len(body) // 2] or b"{"
    try:
        return json.dumps(_edited(trouble, json.loads(body))).encode() if trouble in OF_ROWS else body
    except ValueError:
        return body


def _edited(trouble: Trouble, value: Any) -> Any:
    """The lists of an answer with their rows spoilt, but not what is within rows."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {name: _edited(trouble, member) for name, member in members.items()}
    if not isinstance(value, list):
        return value
    rows = _list(value)
    first = rows[:1]
    match trouble:
        case Trouble.ROWS_REVERSED:
            rows = rows[::-1]
        case Trouble.ROW_MISSING:
            rows = rows[1:]
        case Trouble.ROW_TWICE:
            rows = first + rows
        case Trouble.ROW_CONTRADICTED:
            others = [_contradicting(row) for row in first]
            rows = [*others, *rows, *others]
        case _:
            rows = [*rows, *(_strange(row) for row in first)]
    return rows


def _strange(value: Any) -> Any:
    """The value with all of its texts changed, and so with other ids."""
    if isinstance(value, dict):
        return {name: _strange(member) for name, member in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_strange(member) for member in _list(value)]
    return f"{value}-strange" if isinstance(value, str) else value


def _contradicting(value: Any, name: str = "") -> Any:
    """The value with other texts, numbers and answers to yes or no, but with all that may be an id."""
    if isinstance(value, dict):
        return {name: _contradicting(member, name) for name, member in cast("dict[str, Any]", value).items()}
    if any(part in name.lower() for part in _NAMING):
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return _REFUSED if "status" in name.lower() else value + 1
    return f"{value}-other" if isinstance(value, str) else value


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value)


def _answer(status: int, stream: httpx.AsyncByteStream, *, is_huge: bool = False) -> httpx.Response:
    length = {"content-length": str(_GIGABYTES)} if is_huge else {}
    return httpx.Response(status, headers={"content-type": "application/json", **length}, stream=stream)


class _CutOff(httpx.AsyncByteStream):
    def __init__(self, body: bytes, request: httpx.Request) -> None:
        self._body, self._request = body, request

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        raise httpx.RemoteProtocolError("the connection broke", request=self._request)


class _Endless(httpx.AsyncByteStream):
    """Until it is closed."""

    def __init__(self, block: bytes = _BLOCK, *, every: float = 0.0) -> None:
        self._block, self._every = block, every
        self._is_closed = False

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._is_closed:
            await anyio.sleep(self._every)
            yield self._block

    @override
    async def aclose(self) -> None:
        self._is_closed = True
