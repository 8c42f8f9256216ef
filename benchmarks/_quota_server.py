"""The strict server of the quota benchmark, a process of its own.

It speaks lines over persistent connections, one call at a time on each, so that the limiter is measured and not an
HTTP client. ``call`` is answered ``A`` (accepted) or ``R`` (refused), then the seconds to wait or ``-``, then
for each limit ``limit,remaining,seconds to reset,window`` if the server tells. ``mark`` notes the instant; ``report``
is answered with the verdict as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import cast

import attrs
from attrs import define, field, frozen

from benchmarks._quota_windows import Judge, Rules, verdict

CALL = b"call\n"


@frozen(kw_only=True)
class ServerOptions:
    """How the server behaves."""

    rules: Rules
    seconds: float
    """Measured time."""
    tells: bool = False
    """Each answer tells how the limits stand."""
    is_wide: bool = False
    """A wide area lies between: 15 ms and, exponentially distributed, 5 ms (at most 45) each way."""
    seed: int = 1

    def as_json(self) -> str:
        """For the command line of the process."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServerOptions:
        """What ``as_json`` gave."""
        content = json.loads(text)
        rules = content.pop("rules")
        rules["limits"] = tuple((permits, per) for permits, per in rules["limits"])
        rules["steps"] = tuple((after, permits) for after, permits in rules["steps"])
        return cls(rules=Rules(**rules), **content)


@define(eq=False)
class Desk:
    """What all connections share."""

    options: ServerOptions
    judge: Judge = field(init=False)
    marked_at: float = field(init=False, default=float("inf"))
    _random: random.Random = field(init=False)
    _offset: float = field(init=False, factory=lambda: time.time() - time.monotonic())

    def __attrs_post_init__(self) -> None:
        self.judge = Judge(self.options.rules)
        self._random = random.Random(self.options.seed)

    def now(self) -> float:
        """Seconds since the epoch; never goes backwards."""
        return self._offset + time.monotonic()

    def delay(self) -> float:
        """Seconds on the way in one direction."""
        return 0.015 + min(0.045, self._random.expovariate(1 / 0.005)) if self.options.is_wide else 0.0

    def answer(self) -> bytes:
        """Decide about a call that arrives now."""
        now = self.now()
        accepted = self.judge.decide(now)
        wait = None if accepted else self.judge.retry_after(now)
        words = ["A" if accepted else "R", "-" if wait is None else f"{wait:.3f}"]
        if self.options.tells:
            words += [
                f"{window.permits},{window.remaining},{window.reset_after(now):.4f},{window.per}"
                for window in self.judge.windows
            ]
        return " ".join(words).encode() + b"\n"

    def report(self) -> bytes:
        """What came of it."""
        found = attrs.asdict(verdict(self.judge, self.options.seconds, self.marked_at))
        began_at = self.judge.began_at or 0.0
        found["refused_at"] = [round(at - began_at, 4) for at in self.judge.refused_at[:500]]
        found["accepted_at"] = [round(at - began_at, 4) for at in self.judge.accepted_at]
        return json.dumps(found).encode() + b"\n"


class Connection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """A line came."""
        if data == CALL:
            if self._desk.options.is_wide:
                self._loop.call_later(self._desk.delay(), self._decide)
            else:
                self._transport.write(self._desk.answer())
        elif data == b"mark\n":
            self._desk.marked_at = self._desk.now()
            self._transport.write(b"marked\n")
        else:
            self._transport.write(self._desk.report())

    def _decide(self) -> None:
        self._loop.call_later(self._desk.delay(), self._reply, self._desk.answer())

    def _reply(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(options: ServerOptions) -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    desk = Desk(options)
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", 0, backlog=2048)
    print(f"PORT {server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Run as ``python -m benchmarks._quota_server OPTIONS``."""
    options = ServerOptions.from_json(sys.argv[1])
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(options))
    else:
        uvloop.run(serve(options))


if __name__ == "__main__":
    main()
