"""A Pipedrive that listens: real HTTP over a socket, in a thread with a loop of its own.

    with PipedriveServer() as server:
        server.company.add("persons", {"name": "Ada Lovelace"})
        httpx.get(server.url + "/api/v2/persons", headers={"x-api-token": server.company.api_token})

Give each test a company of its own: ``server.company = Company()``. ``transport(company)`` is the same without a
socket, for tests that make very many requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

import anyio.lowlevel
import httpx

from tests.servers.fault_server import read_request
from tests.servers.pipedrive_company import Asked, Company, Told
from tests.servers.replies import head

START_TIMEOUT = 10.0


class PipedriveServer:
    """Listens on a free port of 127.0.0.1 while its ``with`` block runs."""

    def __init__(self) -> None:
        self.company = Company()
        self._port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="pipedrive-server")
        self._stop: Callable[[], object] = bool

    @property
    def url(self) -> str:
        """The origin, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("the server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=128)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await stopped.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    request = await read_request(reader)
                    told = self.company.answer(_asked(request.method, request.target, request.headers, request.body))
                    body = told.body.encode()
                    writer.write(head(told.status, {**told.headers, "content-length": str(len(body))}) + body)
                    await writer.drain()
        finally:
            writer.transport.abort()


def transport(company: Company) -> httpx.MockTransport:
    """The company without a socket."""

    async def handle(request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        target = request.url.raw_path.decode()
        told: Told = company.answer(_asked(request.method, target, tuple(request.headers.items()), request.content))
        return httpx.Response(told.status, headers=told.headers, content=told.body.encode())

    return httpx.MockTransport(handle)


def _asked(method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Asked:
    parts = urlsplit(target)
    return Asked(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), dict(headers), body)
