"""Where the connections and the pumps live: a task of its own, which no cancellation of a caller reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from ratesync.redis.limiter.pump import Pump
from ratesync.redis.server.connect import Connect
from ratesync.redis.server.link import Links

PAUSE = 0.5
"""Seconds until all is begun anew, should it break."""

FAREWELL = 2.0
"""Seconds at most to return what is leased when the limiter is closed."""


def start_task(main: Callable[[], Awaitable[None]]) -> object:
    """Start a task that belongs to the event loop. Returns what keeps it alive."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.spawn_system_task(main)
    return loop.create_task(_coroutine(main))


async def _coroutine(main: Callable[[], Awaitable[None]]) -> None:
    await main()


@define(eq=False)
class _Life:
    """The time from one ``open`` to its ``close``. The next one may be asked for before it has ended."""

    before: _Life | None
    closing: anyio.Event = field(factory=anyio.Event, init=False)
    closed: anyio.Event = field(factory=anyio.Event, init=False)
    task: object = field(default=None, init=False)


@define(eq=False)
class Home:
    """Runs pumps and their bells, each in a task, while it is open."""

    connect: Connect
    connect_to_wait: Connect
    pumps: list[Pump] = field(factory=list[Pump], init=False)
    _tasks: TaskGroup | None = field(default=None, init=False)
    _links: Links | None = field(default=None, init=False)
    _life: _Life | None = field(default=None, init=False)

    def open(self) -> None:
        """Start, as soon as what was opened before has ended."""
        life = _Life(before=self._life)
        life.task = start_task(partial(self._run, life))
        self._life = life

    async def close(self) -> None:
        """Return what is leased and end."""
        life = self._life
        if life is None:
            return
        life.closing.set()
        with anyio.CancelScope(shield=True):
            await life.closed.wait()

    def add(self, pump: Pump) -> None:
        """Run one more."""
        self.pumps.append(pump)
        self._start(pump)

    def _start(self, pump: Pump) -> None:
        if self._tasks is not None and self._links is not None:
            self._tasks.start_soon(pump.run, self._links)
            self._tasks.start_soon(pump.bell.run, Links(self.connect_to_wait, self._links.tasks))

    async def _run(self, life: _Life) -> None:
        try:
            if life.before is not None:
                await life.before.closed.wait()
                life.before = None
            while not life.closing.is_set():
                try:
                    await self._live(life.closing)
                except Exception as error:  # noqa: BLE001  it is begun anew; those who ask are told
                    self._tasks = self._links = None
                    for pump in self.pumps:
                        pump.break_down(error)
                    with anyio.move_on_after(PAUSE):
                        await life.closing.wait()
        finally:
            self._tasks = self._links = None
            life.closed.set()

    async def _live(self, closing: anyio.Event) -> None:
        async with anyio.create_task_group() as connections:
            links = Links(self.connect, connections)
            async with anyio.create_task_group() as tasks:
                self._links, self._tasks = links, tasks
                for pump in self.pumps:
                    self._start(pump)
                await closing.wait()
                self._tasks = None
                tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL):
                for pump in self.pumps:
                    await pump.leave(links)
            connections.cancel_scope.cancel()
