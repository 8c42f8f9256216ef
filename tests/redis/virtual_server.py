"""A real Valkey in virtual time: the scripts are its own, and only the time that they read is the test's.

A real socket would need real time, so a client here talks to the server without waiting: for the test's loop an
exchange takes the `latency` that it is told to take, and nothing else. Keys live as long as they do in real time, which
is longer than any test.
"""

from __future__ import annotations

import math
import random
import socket
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import IO, Any, cast

import anyio
from attrs import define, field
from coredis.exceptions import ConnectionError as Disconnected
from coredis.exceptions import NoScriptError
from coredis.response.types import StreamEntry

from ratesync.clock import Clock
from ratesync.redis import RedisLimiter
from ratesync.redis.limiter.script import exchange_script

AHEAD = 1_200 * 86_400.0
"""Whole days, so that windows of the calendar begin at the same instants; virtual time begins in 2023, before the base
of the server's instants."""

TIME = "redis.call('TIME')"
TOLD_TIME = "{ ARGV[2], ARGV[3] }"


@define(eq=False)
class VirtualServer:
    """What clients of a virtual time see of a server."""

    port: int
    clock: Clock
    latency: Callable[[], float] = field(default=lambda: 0.0002)
    """Seconds for one way there or back."""
    ahead: float = AHEAD
    """Seconds by which the server's clock is ahead of ours."""
    is_away: bool = False
    """Nobody gets through."""
    is_mute: bool = False
    """Nobody hears anything between two exchanges."""
    loses_replies: bool = False
    """What is asked is done, and the answer gets lost."""
    silenced: set[int] = field(factory=set[int], init=False)
    """Numbers of clients that died, as far as anybody can see."""
    clients: list[int] = field(factory=list[int], init=False)
    exchanges: int = field(default=0, init=False)
    listeners: int = field(default=0, init=False)
    """Who ever waited for an entry of a stream."""
    changed: anyio.Event = field(factory=anyio.Event, init=False)
    """Set by the next exchange."""
    digest: str = field(default="", init=False)
    _socket: socket.socket = field(init=False)
    _file: IO[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self._file = self._socket.makefile("rb")
        text = exchange_script().text
        assert text.count(TIME) == 1
        self.digest = str(self.command("SCRIPT", "LOAD", text.replace(TIME, TOLD_TIME)))

    def close(self) -> None:
        """Let go of the connection."""
        self._file.close()
        self._socket.close()

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Any]:
        """A client for one limiter."""
        yield VirtualClient(self, -1)

    def silenceable(self, number: int) -> Any:
        """What a limiter takes for a function that makes clients: those have that number."""
        self.clients.append(number)

        @asynccontextmanager
        async def client() -> AsyncGenerator[Any]:
            yield VirtualClient(self, number)

        return client

    def flush(self, prefix: str) -> None:
        """Lose all keys that begin so."""
        keys = self.command("KEYS", f"{prefix}*")
        if keys:
            self.command("DEL", *keys)

    def run(self, keys: Sequence[str], argument: str) -> str:
        """Run the script now."""
        self.exchanges += 1
        seconds, rest = divmod(self.clock.now() + self.ahead, 1)
        time = (str(int(seconds)), str(math.floor(rest * 1_000_000)))
        answer = str(self.command("EVALSHA", self.digest, str(len(keys)), *keys, argument, *time))
        self.changed.set()
        self.changed = anyio.Event()
        return answer

    def command(self, *words: str) -> Any:
        """The answer to a command."""
        parts = [word.encode() for word in words]
        lines = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), lines))
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise NoScriptError if rest.startswith("NOSCRIPT") else RuntimeError(rest)
        if kind == b"$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == "-1" else [self._answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


@define(eq=False)
class VirtualClient:
    """The commands that a limiter uses."""

    server: VirtualServer
    number: int

    def decoding(self, mode: bool) -> AbstractContextManager[None]:
        """What it says comes as text either way."""
        return nullcontext()

    async def evalsha(self, digest: str, keys: Sequence[str], arguments: Sequence[str]) -> str:
        """Run the script, which has to be that of the limiter."""
        assert digest == exchange_script().sha1
        server = self.server
        await anyio.sleep(server.latency())
        if server.is_away or self.number in server.silenced:
            raise Disconnected("nobody there")
        answer = server.run(keys, arguments[0])
        await anyio.sleep(server.latency())
        if server.loses_replies:
            raise Disconnected("the answer got lost")
        return answer

    async def xread(self, streams: Mapping[str, str], *, count: int, block: int) -> Mapping[str, Sequence[StreamEntry]]:
        """Wait for entries of one stream."""
        ((key, after),) = streams.items()
        server, found = self.server, None
        server.listeners += 1
        await anyio.sleep(server.latency())
        with anyio.move_on_after(block / 1000):
            while not found:
                if server.is_away or server.is_mute or self.number in server.silenced:
                    raise Disconnected("nobody there")
                found = server.command("XREAD", "COUNT", str(count), "STREAMS", key, after)
                if not found:
                    await server.changed.wait()
        await anyio.sleep(server.latency())
        return {name: [_entry(*entry) for entry in entries] for name, entries in found or ()}

    async def eval(self, script: str, keys: Sequence[str], arguments: Sequence[str]) -> str:
        """The same, for a server that forgot the script."""
        self.server.digest = str(self.server.command("SCRIPT", "LOAD", script.replace(TIME, TOLD_TIME)))
        return await self.evalsha(exchange_script().sha1, keys, arguments)


def _entry(name: str, words: Sequence[str]) -> StreamEntry:
    fields = [word.encode() for word in words]
    return StreamEntry(name.encode(), OrderedDict(zip(fields[::2], fields[1::2], strict=True)))


def as_server(server: VirtualServer) -> Any:
    """What a limiter takes for a function that makes clients."""
    return cast("Any", server.client)


@asynccontextmanager
async def workers(server: VirtualServer, number: int = 1, **options: Any) -> AsyncGenerator[list[RedisLimiter]]:
    """Limiters of so many workers, of which nothing was used before."""
    chosen: dict[str, Any] = {"prefix": f"{uuid.uuid4().hex}:", "cold_start": False, "clock": server.clock} | options
    limiters = [RedisLimiter(as_server(server), **chosen) for _ in range(number)]
    for limiter in limiters:
        await limiter.open()
    try:
        yield limiters
    finally:
        for limiter in limiters:
            await limiter.close()


def jittery(least: float, most: float, seed: int = 0) -> Callable[[], float]:
    """Latencies between two bounds."""
    source = random.Random(seed)
    return lambda: source.uniform(least, most)
