"""A wire for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio

from ratesync.redis.server.address import Address, Kind
from ratesync.redis.server.resp import Answers, Argument, Garbled, ReplyError, packed
from ratesync.redis.server.wire import WireDown


class AsyncioWire(asyncio.Protocol):
    """On a transport of asyncio's: a call takes half of what it takes on a stream of anyio's."""

    def __init__(self) -> None:
        self.usable = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answers = Answers()
        self._replies: deque[asyncio.Future[Any]] = deque()
        """Where answers are put, in the order of what was asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Pass answers on."""
        self._answers.feed(data)
        try:
            for value in self._answers:
                future = self._replies.popleft()
                if not future.done():
                    future.set_result(value)
        except (Garbled, IndexError):
            self.close("an answer is none of a Redis")

    def connection_lost(self, exc: Exception | None) -> None:
        """There is no connection any more."""
        self.close("the connection broke")

    def close(self, problem: str = "the connection was closed") -> None:
        """End the connection; nobody will be answered any more."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
        for future in self._replies:
            if not future.done():
                future.set_result(WireDown(problem))
        self._replies.clear()

    async def ask(self, words: Sequence[Argument], seconds: float) -> Any:
        """See :meth:`Wire.ask`."""
        if not self.usable or self._transport is None:
            raise WireDown("the connection is broken", is_sent=False)
        data = packed(words)
        future = self._loop.create_future()
        self._replies.append(future)
        self._transport.write(data)
        timer = self._loop.call_later(seconds, _give_up, future)
        try:
            value = await future
        finally:
            timer.cancel()
        if isinstance(value, (ReplyError, WireDown, TimeoutError)):
            raise value
        return value


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(TimeoutError("no answer in time"))


@asynccontextmanager
async def asyncio_wire(
    address: Address, timeout: float, ssl_context: ssl.SSLContext | None
) -> AsyncGenerator[AsyncioWire]:
    """A connection for as long as the context lasts. ``timeout``: seconds to make it."""
    loop = asyncio.get_running_loop()
    with anyio.fail_after(timeout):
        if address.kind is Kind.SOCKET:
            _, wire = await loop.create_unix_connection(AsyncioWire, address.path)
        else:
            ((host, port),) = address.hosts
            _, wire = await loop.create_connection(AsyncioWire, host, port, ssl=ssl_context)
    try:
        yield wire
    finally:
        wire.close()
