"""A wire for any event loop."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream
from attrs import define, field

from ratesync.redis.server.address import Address, Kind
from ratesync.redis.server.resp import Answers, Argument, Garbled, ReplyError, packed
from ratesync.redis.server.wire import WireDown

CHUNK = 262_144
"""Most bytes that are taken from the socket at a time."""


class Reply:
    """Where an answer is put."""

    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.value: Any = None

    def put(self, value: Any) -> None:
        """Here it is."""
        self.value = value
        self.event.set()


@define(eq=False)
class StreamWire:
    """On a stream of anyio's."""

    stream: ByteStream
    usable: bool = field(default=True, init=False)
    _replies: deque[Reply] = field(factory=deque[Reply], init=False)
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def ask(self, words: Sequence[Argument], seconds: float) -> Any:
        """See :meth:`Wire.ask`."""
        reply = Reply()
        with anyio.move_on_after(seconds):
            async with self._turn:
                await self._send(packed(words), reply)
            await reply.event.wait()
        if not reply.event.is_set():
            raise TimeoutError("no answer in time")
        if isinstance(reply.value, (ReplyError, WireDown)):
            raise reply.value
        return reply.value

    async def _send(self, data: bytes, reply: Reply) -> None:
        if not self.usable:
            raise WireDown("the connection is broken", is_sent=False)
        self._replies.append(reply)
        try:
            await self.stream.send(data)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            self.close("the connection broke")
        except BaseException:  # cancelled: nobody knows how much was sent
            self.close("a command was cut off")
            raise

    async def run(self) -> None:
        """Take answers until the connection ends."""
        answers = Answers()
        problem = "the connection broke"
        try:
            while self.usable:
                answers.feed(await self.stream.receive(CHUNK))
                for value in answers:
                    self._replies.popleft().put(value)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        except (Garbled, IndexError):
            problem = "an answer is none of a Redis"
        finally:
            self.close(problem)

    def close(self, problem: str = "the connection was closed") -> None:
        """Nobody will be answered any more."""
        self.usable = False
        while self._replies:
            self._replies.popleft().put(WireDown(problem))


@asynccontextmanager
async def stream_wire(
    address: Address, timeout: float, ssl_context: ssl.SSLContext | None
) -> AsyncGenerator[StreamWire]:
    """A connection for as long as the context lasts. ``timeout``: seconds to make it."""
    with anyio.fail_after(timeout):
        if address.kind is Kind.SOCKET:
            stream: ByteStream = await anyio.connect_unix(address.path)
        else:
            ((host, port),) = address.hosts
            if ssl_context is None:
                stream = await anyio.connect_tcp(host, port)
            else:
                stream = await anyio.connect_tcp(host, port, ssl_context=ssl_context, tls_standard_compatible=False)
    async with stream, anyio.create_task_group() as tasks:
        wire = StreamWire(stream)
        tasks.start_soon(wire.run)
        try:
            yield wire
        finally:
            wire.close()
            tasks.cancel_scope.cancel()
