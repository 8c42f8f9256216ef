"""TLS in front of a Valkey, whose own build may have none."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from types import TracebackType
from typing import Self

from attrs import define, field

CHUNK = 65_536
START_TIMEOUT = 10.0


@define(eq=False)
class TlsFront:
    """Listens with TLS on a free port of 127.0.0.1 while its `with` block runs, and passes on to `server_port`."""

    server_port: int
    context: ssl.SSLContext
    port: int = field(default=0, init=False)
    _started: threading.Event = field(factory=threading.Event, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stopped: asyncio.Event = field(factory=asyncio.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tls-front")
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("the TLS front did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
            try:
                await asyncio.gather(_pass_on(reader, server_writer), _pass_on(server_reader, writer))
            finally:
                tasks.discard(task)

        server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
