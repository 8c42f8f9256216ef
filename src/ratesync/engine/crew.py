"""The tasks that carry out calls. They live on: starting one costs more than all else that a call does here."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from ratesync.clock import Clock
from ratesync.engine.call import Call

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_TURN = 0.005
"""Seconds after which a member that had no need to wait lets other tasks run."""


class Crew:
    """As many tasks as there were ever calls at the same time. Each call is begun at once, whatever others wait for.

    Who comes to serve calls more members, two at a time, while there are calls that nobody has begun. So a crowd of
    calls is begun within a few turns of the event loop; and where one member gets through all of them without waiting,
    the others were not woken for nothing.
    """

    def __init__(self, tasks: TaskGroup, serve: Callable[[Call], Awaitable[None]], clock: Clock) -> None:
        self._tasks = tasks
        self._serve = serve
        self._clock = clock
        self._line: deque[Call] = deque()
        self._resting: list[anyio.Event] = []
        self._coming = 0
        """Members that were called and have not begun yet."""

    def give(self, call: Call) -> None:
        """Have the call carried out."""
        self._line.append(call)
        if not self._coming:
            self._summon()

    def _summon(self) -> None:
        self._coming += 1
        if self._resting:
            self._resting.pop().set()
        else:
            self._tasks.start_soon(self._work, name="ratesync calls")

    async def _work(self) -> None:
        while True:
            self._coming -= 1
            for _ in range(min(2, len(self._line) - 1)):
                self._summon()
            await self._serve_line()
            rest = anyio.Event()
            self._resting.append(rest)
            await rest.wait()

    async def _serve_line(self) -> None:
        turn_ends_at = self._clock.now() + _TURN
        while self._line:
            await self._serve(self._line.popleft())
            now = self._clock.now()
            if now > turn_ends_at:
                await anyio.lowlevel.checkpoint()
                turn_ends_at = now + _TURN
