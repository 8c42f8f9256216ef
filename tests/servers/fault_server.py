"""An HTTP server that misbehaves on the wire exactly as told. It runs in a thread with a loop of its own.

    with FaultServer() as server:
        server.script("/contacts/1", hang())                      # every request for that path
        server.script("/contacts/2", status(503), json_answer({}))  # the first, then all later ones
        httpx.get(server.url + "/contacts/1", timeout=0.1)
        assert server.requests[0].method == "GET"

The replies are in `tests.servers.replies`; a reply is any async function of a `Wire`. A path without a script gets 404.
Paths are matched as they stand on the wire, without their query.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

START_TIMEOUT = 10.0
LINGER = "hh" if sys.platform == "win32" else "ii"


@frozen(kw_only=True)
class RecordedRequest:
    """A request as it came: `target` is path and query as on the wire; header names are in lower case, in order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, or `None`."""
        return next((value for known, value in self.headers if known == name.lower()), None)


@define
class Wire:
    """One connection in the middle of one request. A reply writes to it what it likes.

    The connection is closed after the reply unless it sets `keep_alive`.
    """

    request: RecordedRequest
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    count: Callable[[int], None]
    keep_alive: bool = field(default=False, init=False)

    async def send(self, data: bytes) -> None:
        """Write bytes as they are. Raises `ConnectionError` once the client is gone."""
        self.writer.write(data)
        await self.writer.drain()
        self.count(len(data))

    async def until_client_leaves(self) -> None:
        """Say nothing more, and return when the client has closed its side."""
        while await self.reader.read(4096):
            pass

    def reset(self) -> None:
        """Drop the connection with RST rather than FIN."""
        reset(self.writer)


Reply = Callable[[Wire], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the peer gets RST: lingering for 0 seconds throws away what was not sent."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(LINGER, 1, 0))
    writer.transport.abort()


class FaultServer:
    """Listens on a free port of 127.0.0.1 while its `with` block runs, with TLS when it is given a server's context.

    With `reset_handshake` each connection is reset as soon as the client has sent its first bytes.
    `requests` are those that came whole, oldest first; `bytes_sent` counts what was written to all of them.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, reset_handshake: bool = False) -> None:
        self.requests: list[RecordedRequest] = []
        self.bytes_sent = 0
        self._tls = tls
        self._scheme = "https" if tls or reset_handshake else "http"
        self._reset_handshake = reset_handshake
        self._scripts: dict[str, list[Reply]] = {}
        self._port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-server")
        self._stop: Callable[[], object] = bool

    @property
    def url(self) -> str:
        """The origin, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    def script(self, path: str, *replies: Reply) -> str:
        """Give the coming requests for a path these replies in turn, and the last one ever after. Returns the URL."""
        self._scripts[path] = list(replies)
        return self.url + path

    def received(self, path: str) -> list[RecordedRequest]:
        """The requests for a path, oldest first."""
        return [request for request in self.requests if request.path == path]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=self._tls, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await stopped.wait()
        # Not waited for: a connection may hang for ever. Leaving the loop cancels them all.
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that leaves in the middle is what most replies provoke.
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if self._reset_handshake:
                    await reader.readexactly(1)
                    reset(writer)
                elif await self._answer_all(reader, writer):
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer request after request. Returns whether the connection is still to be closed in peace."""
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            wire = Wire(request, reader, writer, self._count)
            await self._reply_for(request.path)(wire)
            if not wire.keep_alive:
                return not writer.is_closing()

    def _reply_for(self, path: str) -> Reply:
        replies = self._scripts.get(path, [_not_found])
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def _count(self, sent: int) -> None:
        self.bytes_sent += sent


async def read_request(reader: asyncio.StreamReader) -> RecordedRequest:
    """Read one well-formed request, with a body that has a length or comes in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    named = dict(headers)
    if named.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunked_body(reader)
    else:
        body = await reader.readexactly(int(named.get("content-length", "0")))
    return RecordedRequest(method=method, target=target, headers=headers, body=body)


async def _chunked_body(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(chunks)


async def _not_found(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
