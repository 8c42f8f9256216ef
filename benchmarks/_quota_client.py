"""A client process of the quota benchmark: callers that call the server as often as their limiter lets them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, cast

import attrs
from attrs import define, field, frozen

from benchmarks._quota_limiters import CONTESTANTS, Contestant, Reply, close
from benchmarks._quota_server import CALL, ServerOptions


@frozen(kw_only=True)
class ClientOptions:
    """What one process does."""

    contestant: str
    port: int
    callers: int
    seconds: float
    redis: str | None
    server: str
    """The server's options as JSON: the limits are those that the caller knows."""

    def as_json(self) -> str:
        """For the command line of the process."""
        return json.dumps(attrs.asdict(self))


class Line(asyncio.Protocol):
    """A caller's connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """The answer came."""
        if not self._answer.done():
            self._answer.set_result(data)

    def call(self) -> asyncio.Future[bytes]:
        """Make a call."""
        self._answer = self._loop.create_future()
        self._transport.write(CALL)
        return self._answer


@define
class Tally:
    """What one caller got."""

    accepted: int = 0
    longest_wait: float = field(default=0.0)


async def call_on(line: Line, contestant: Contestant, tally: Tally, until: float) -> None:
    """Call as often as allowed."""
    while True:
        asked_at = time.monotonic()
        permit = await contestant.ask()
        if time.monotonic() >= until:
            return
        tally.longest_wait = max(tally.longest_wait, time.monotonic() - asked_at)
        reply = Reply.parse(await line.call())
        await contestant.tell(permit, reply)
        tally.accepted += reply.accepted


async def run(options: ClientOptions) -> dict[str, Any]:
    """Connect, wait for the word, call."""
    loop = asyncio.get_running_loop()
    lines = [(await loop.create_connection(Line, "127.0.0.1", options.port))[1] for _ in range(options.callers)]
    rules = ServerOptions.from_json(options.server).rules
    print("READY", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    contestant = await CONTESTANTS[options.contestant](rules, options.redis)  # now: it does not know what was before
    tallies = [Tally() for _ in lines]
    cpu, until = time.process_time(), time.monotonic() + options.seconds
    tasks = [
        loop.create_task(call_on(line, contestant, tally, until)) for line, tally in zip(lines, tallies, strict=True)
    ]
    await asyncio.sleep(options.seconds)
    cpu = time.process_time() - cpu
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    errors = {repr(error) for error in ended if isinstance(error, Exception)}
    await close(contestant)
    return {
        "accepted": [tally.accepted for tally in tallies],
        "longest_wait": max(tally.longest_wait for tally in tallies),
        "cpu": cpu,
        "errors": sorted(errors),
    }


def main() -> None:
    """Run as ``python -m benchmarks._quota_client OPTIONS``."""
    options = ClientOptions(**json.loads(sys.argv[1]))
    print(json.dumps(asyncio.run(run(options))), flush=True)


if __name__ == "__main__":
    main()
