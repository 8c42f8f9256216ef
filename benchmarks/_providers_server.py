"""The API of the providers benchmark, a process of its own: it keeps records and does as little else as possible.

PATCH  /contacts/{id}     sets fields: {"id": ...}
POST   /contacts:batch    {"rows": [{"id", ...}]}: the same for each: {"results": [{"id"}]}
GET    /seen              {"calls", "records", "wrong"}: since the last time it was asked
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import httptools
from attrs import define, field

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


@define
class Kept:
    """What was written, and how often it was asked."""

    contacts: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    calls: int = 0
    records: int = 0

    def write(self, identity: str, fields: dict[str, Any]) -> dict[str, str]:
        """Set fields of a record."""
        self.records += 1
        self.contacts.setdefault(identity, {}).update(fields)
        return {"id": identity}

    def tell(self) -> dict[str, int]:
        """What came since the last time, and how many records are not as the benchmark writes them."""
        wrong = sum(f"ada{identity}@example.org" != contact["email"] for identity, contact in self.contacts.items())
        told = {"calls": self.calls, "records": self.records, "kept": len(self.contacts), "wrong": wrong}
        self.contacts.clear()
        self.calls = self.records = 0
        return told


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A request."""
        self._path = self._body = b""

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self._path += url

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Carry it out and answer."""
        path, kept = self._path.decode(), self._kept
        answer: Any
        if path == "/seen":
            answer = kept.tell()
        else:
            kept.calls += 1
            asked = json.loads(self._body)
            if path == "/contacts:batch":
                answer = {"results": [kept.write(row.pop("id"), row) for row in asked["rows"]]}
            else:
                answer = kept.write(path.rpartition("/")[2], asked)
        content = json.dumps(answer).encode()
        self._transport.write(HEAD % len(content) + content)


async def serve() -> None:
    """Serve until standard input closes."""
    loop, kept = asyncio.get_running_loop(), Kept()
    server = await loop.create_server(lambda: Connection(kept), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running_server() -> Generator[str]:
    """Its URL, while it runs."""
    command = [sys.executable, "-m", "benchmarks._providers_server"]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
