"""One shard of a queue: the scripts that run on it, and how instants get there."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from attrs import define, field

from ratesync.clock import Clock
from ratesync.model.lane import Lane
from ratesync.redis.queue.scripts import queue_script
from ratesync.redis.server.clock import ServerClock
from ratesync.redis.server.lua import ABSENT, Argument
from ratesync.redis.server.server import RedisServer


@define(eq=False)
class Shard:
    """All its keys carry one hash tag: they live in one slot of a cluster."""

    server: RedisServer
    clock: Clock
    number: int
    time: ServerClock = field(factory=ServerClock)
    keys: list[str] = field(init=False)
    """Those that every script declares."""

    def __attrs_post_init__(self) -> None:
        self.keys = [f"{self.prefix}root", f"{self.prefix}{ABSENT}"]

    @property
    def prefix(self) -> str:
        """What its keys begin with. Names of providers are escaped in keys, so no limiter's key has a slash there."""
        return f"{self.server.prefix}:{{queue/{self.number}}}:"

    @property
    def bell(self) -> str:
        """The stream that tells of changes."""
        return f"{self.prefix}bell"

    async def run(self, name: str, *args: Argument) -> Any:
        """Run a script of the queue.

        :raises NewerLayout: a newer version laid the queue out.
        :raises ServerError: it was not carried out, or nobody knows.
        """
        now: Argument = self.clock.now() if self.clock.is_virtual else ""
        return await self.server.run(queue_script(name), self.keys, [now, *args])

    def server_instant(self, at: float) -> float:
        """The server's time at an instant of ours."""
        if self.clock.is_virtual or not self.time.is_known:
            return at
        return self.time.latest(at)

    def own_instant(self, told: float) -> float:
        """When the server's clock will have reached that instant, by ours."""
        if self.clock.is_virtual or not self.time.is_known:
            return told
        return self.time.surely_past(told)

    def expected(self) -> Argument:
        """The server's time as far as we know; empty if we do not."""
        if self.clock.is_virtual or not self.time.is_known:
            return ""
        return self.time.latest(self.clock.now())


def shard_of(lane: Lane, shards: int) -> int:
    """The number of the shard in which a lane is."""
    return zlib.crc32(f"{len(lane.provider)}:{lane.provider}{lane.connection}".encode()) % shards


async def at_each(shards: Sequence[Shard], ask: Callable[[Shard], Awaitable[None]]) -> None:
    """Ask all of these shards at the same time: none waits for another one, or is left out where that one fails.

    The error of the first that failed is raised when all have been asked.
    """
    if len(shards) == 1:
        await ask(shards[0])
        return
    errors: list[Exception] = []

    async def attempt(shard: Shard) -> None:
        try:
            await ask(shard)
        except Exception as error:  # noqa: BLE001  it is raised below, bare
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for shard in shards:
            tasks.start_soon(attempt, shard)
    if errors:
        raise errors[0]


def by_shard(lanes: Sequence[Lane], shards: int) -> dict[int, list[int]]:
    """For each shard the places of its lanes.

    By the shards' numbers: so two that wait for room in several of them never wait for each other.
    """
    if shards == 1:
        return {0: list(range(len(lanes)))} if lanes else {}
    places: dict[int, list[int]] = {}
    for place, lane in enumerate(lanes):
        places.setdefault(shard_of(lane, shards), []).append(place)
    return dict(sorted(places.items()))
