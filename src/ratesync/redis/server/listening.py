"""Waits at the server for new entries of streams, each on a connection of its own, for all tasks that care."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from ratesync.clock import Clock, timeout_at
from ratesync.redis.limiter.call import FIRST_PAUSE, LONGEST_PAUSE
from ratesync.redis.server.link import Links

SLICE = 5.0
"""Seconds that one command waits at the server. A dead connection is noticed after one, and the time for an answer."""

KEPT = 2 * SLICE
"""Seconds until an ear closes that nobody cares for any more."""

Place = tuple[int, int]


def place_of(entry: str) -> Place:
    """The order of a stream's ids: 5-1 is behind 5, that is 5-0."""
    time, _, number = entry.partition("-")
    return int(time), int(number or 0)


@define(eq=False)
class Ear:
    """Listens to one stream."""

    key: str
    newest: str
    """The newest entry that is known."""
    listeners: int = field(default=0, init=False)
    unused_since: float = field(default=math.inf, init=False)
    heard: anyio.Event = field(factory=anyio.Event, init=False)

    def hear(self, entry: str) -> None:
        """There is a new entry."""
        if place_of(entry) > place_of(self.newest):
            self.newest = entry
            self.heard.set()
            self.heard = anyio.Event()


@define(eq=False)
class Ears:
    """The ears of a process."""

    line: Callable[[], AbstractContextManager[Links]]
    """What an ear listens on."""
    tasks: TaskGroup
    clock: Clock
    random: Random
    timeout: float
    """Seconds by which an answer may be late."""
    suspect: Callable[[], None]
    """What to do when the server has gone away: it may come back without its data."""
    slice: float = SLICE
    _ears: dict[str, Ear] = field(factory=dict[str, Ear], init=False)

    async def listen(self, key: str, after: str, until: float | None) -> str | None:
        """The newest entry behind ``after``, as soon as there is one; None at ``until``."""
        ear = self._ears.get(key)
        if ear is None:
            ear = self._ears[key] = Ear(key, after)
            self.tasks.start_soon(self._serve, ear)
        ear.listeners += 1
        try:
            with timeout_at(self.clock, until):
                while place_of(ear.newest) <= place_of(after):
                    await ear.heard.wait()
                return ear.newest
            return None
        finally:
            ear.listeners -= 1
            if not ear.listeners:
                ear.unused_since = self.clock.now()

    async def _serve(self, ear: Ear) -> None:
        """Listen for as long as somebody cares."""
        failures = 0
        try:
            with self.line() as links:
                while ear.listeners or self.clock.now() - ear.unused_since < KEPT:
                    if await self._turn(ear, links):
                        failures = 0
                        continue
                    await anyio.sleep(self.random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10))))
                    failures += 1
        finally:
            del self._ears[ear.key]

    async def _turn(self, ear: Ear, links: Links) -> bool:
        """Listen for a while; False if that was not possible."""
        link = links.current
        try:
            with anyio.fail_after(self.slice + self.timeout):
                async with link.use() as session:
                    entries = await session.new_entries(ear.key, ear.newest, self.slice)
        except Exception:  # noqa: BLE001  whatever it fails with: listened to again soon
            links.replace(link)
            self.suspect()
            return False
        if entries:
            ear.hear(str(entries[-1][0], "ascii"))
        return True
