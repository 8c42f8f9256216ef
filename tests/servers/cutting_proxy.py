"""A TCP proxy that cuts, delays and swallows what a server and its clients say. It runs in a thread with its own loop.

    with CuttingProxy(valkey.port) as proxy:
        client = connect(proxy.url)
        proxy.swallow_replies()   # requests arrive, answers do not
        proxy.heal()              # as if nothing had been, for connections that are still open too

A fault holds for all connections, also those that are open already, until another one or `heal` takes its place. Those
that cut something off do it once for each time they are called, unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import define, evolve, field, frozen

from tests.servers.fault_server import START_TIMEOUT, reset

CHUNK = 65_536


@frozen(kw_only=True)
class Fault:
    """What is done to the bytes that pass."""

    delay: float = 0.0
    """Seconds by which each chunk is late, in each direction."""
    slice_to: int = CHUNK
    """Most bytes that are passed on at once."""
    swallows_requests: bool = False
    swallows_replies: bool = False
    refuses: bool = False
    """New connections are closed at once."""
    cuts: int = 0
    """Replies that are still to be cut off."""
    cut_after: int = 0
    """Bytes of such a reply that are passed on."""
    is_rst: bool = True
    """A cut connection is reset, not ended in peace."""


@define(eq=False)
class Pair:
    """A client's connection, and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_held: bool = False
    """Its requests are kept back."""

    def cut(self, *, is_rst: bool) -> None:
        """End both."""
        for writer in (self.client, self.server):
            if is_rst:
                with contextlib.suppress(OSError):  # closed already
                    reset(writer)
            else:
                writer.close()


@define(eq=False)
class CuttingProxy:
    """Listens on a free port of 127.0.0.1 while its `with` block runs, and passes everything on to `server_port`.

    All methods may be called from any thread; a fault holds when the method returns.
    """

    server_port: int
    accepted: int = field(default=0, init=False)
    """Connections so far."""
    replies_swallowed: int = field(default=0, init=False)
    """Chunks of replies that were not passed on, or not as a whole."""
    fault: Fault = field(factory=Fault, init=False)
    _port: int = field(default=0, init=False)
    _pairs: dict[Pair, None] = field(factory=dict[Pair, None], init=False)
    _released: asyncio.Event = field(factory=asyncio.Event, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _started: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)
    _stop: Callable[[], object] = field(default=bool, init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="cutting-proxy")

    @property
    def port(self) -> int:
        """The port for clients."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients of a Redis find it."""
        return f"redis://127.0.0.1:{self._port}"

    def heal(self) -> None:
        """Pass everything on again. What was swallowed stays lost."""
        self._set(Fault())

    def delay(self, seconds: float) -> None:
        """Let all that passes be late, in each direction."""
        self._set(Fault(delay=seconds))

    def slice(self, size: int = 1, delay: float = 0.0) -> None:
        """Pass on no more than so many bytes at once, each piece that late."""
        self._set(Fault(slice_to=size, delay=delay))

    def black_hole(self) -> None:
        """Swallow everything in both directions; connections stay open, and new ones are accepted."""
        self._set(Fault(swallows_requests=True, swallows_replies=True))

    def swallow_replies(self) -> None:
        """Let requests reach the server, and lose its answers; connections stay open."""
        self._set(Fault(swallows_replies=True))

    def hold_requests(self) -> None:
        """Keep back what is requested on the connections that are open now; new ones are free."""

        def hold() -> None:
            self._released = asyncio.Event()
            for pair in self._pairs:
                pair.is_held = True

        self._call(hold)

    def release_requests(self) -> None:
        """Let what was kept back reach the server, as packets that come late, also of clients that have gone."""

        def release() -> None:
            for pair in self._pairs:
                pair.is_held = False
            self._released.set()

        self._call(release)

    def cut_replies(self, number: int = 1, *, after: int = 0, is_rst: bool = True) -> None:
        """Cut connections in the middle of a server's next answers, after so many bytes of them.

        The server has carried out what they answer.
        """
        self._set(Fault(cuts=number, cut_after=after, is_rst=is_rst))

    def cut_all(self, *, refuse: bool = False) -> None:
        """Reset every connection now; with `refuse`, each new one too, until it is healed."""

        def cut() -> None:
            self.fault = Fault(refuses=refuse)
            for pair in list(self._pairs):
                pair.cut(is_rst=True)

        self._call(cut)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    def _set(self, fault: Fault) -> None:
        self._call(lambda: setattr(self, "fault", fault))

    def _call(self, change: Callable[[], object]) -> None:
        """Change something in the loop's thread, and wait until that is done."""
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        assert self._loop is not None, "the proxy does not run"
        self._loop.call_soon_threadsafe(run)
        assert done.wait(START_TIMEOUT), "the proxy hangs"

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._loop = loop
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await stopped.wait()
        server.close()
        for pair in list(self._pairs):
            pair.cut(is_rst=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.fault.refuses:
            reset(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            reset(writer)
            return
        pair = Pair(writer, server_writer)
        self._pairs[pair] = None
        try:
            requests = asyncio.create_task(self._requests(reader, pair))
            replies = asyncio.create_task(self._replies(server_reader, pair))
            await asyncio.wait([requests, replies], return_when=asyncio.FIRST_COMPLETED)
            for task in (requests, replies):
                task.cancel()
            await asyncio.gather(requests, replies, return_exceptions=True)
        finally:
            self._pairs.pop(pair, None)
            for end in (pair.client, pair.server):
                end.close()

    async def _requests(self, reader: asyncio.StreamReader, pair: Pair) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if pair.is_held:
                    await self._released.wait()
                if not self.fault.swallows_requests:
                    await self._pass_on(data, pair.server)

    async def _replies(self, reader: asyncio.StreamReader, pair: Pair) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                fault = self.fault
                if fault.swallows_replies:
                    self.replies_swallowed += 1
                elif fault.cuts:
                    self.replies_swallowed += 1
                    self.fault = evolve(fault, cuts=fault.cuts - 1)
                    pair.client.write(data[: fault.cut_after])
                    await pair.client.drain()
                    if fault.cut_after:
                        await asyncio.sleep(0.01)  # a reset would overtake it
                    pair.cut(is_rst=fault.is_rst)
                    return
                else:
                    await self._pass_on(data, pair.client)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        fault = self.fault
        for first in range(0, len(data), fault.slice_to):
            if fault.delay:
                await asyncio.sleep(fault.delay)
            writer.write(data[first : first + fault.slice_to])
            await writer.drain()
            if fault.slice_to < CHUNK:
                await asyncio.sleep(0)
