"""An asyncio event loop whose time is virtual.

Time stands still while anything can run and jumps to the next timer when nothing can. A day of sleeping takes no
real time, and the same program takes the same steps in the same order each time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import selectors
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from queue import Queue
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

from anyio._backends import _asyncio as anyio_on_asyncio
from typing_extensions import override

from ratesync.testing.deadlock import Deadlock, VirtualTimeError, waiting_line

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TICK = 2.0**-22
"""Seconds, about a quarter of a microsecond: the grid of virtual time, and the least that a timer takes.

Floats between the years 2004 and 2038 are spaced just so, thus loop time and instants are both exact."""

HORIZON = 2.0**30
"""Seconds, 34 years. A timer beyond it never fires, as floats get too coarse for the grid; infinity is one of them."""

REAL_WAIT = 0.01
"""Seconds between two looks at a worker thread. Its result is noticed at once, only its silent end needs a look."""


class NumberedTask(asyncio.Task[T]):
    """A task that hashes by its number. So a set of tasks has the same order in each run, not that of addresses."""

    def __init__(
        self, number: int, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
    ) -> None:
        self._number = number  # first, as the task puts itself into sets
        super().__init__(coroutine, **options)

    @override
    def __hash__(self) -> int:
        return self._number


class NumberedScope(anyio_on_asyncio.CancelScope):
    """As :class:`NumberedTask`: anyio keeps nested cancel scopes in a set, and cancels in the order of that set."""

    __slots__ = ("_number",)

    def __init__(self, *, deadline: float = math.inf, shield: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._number = loop.next_number() if isinstance(loop, VirtualEventLoop) else id(self)
        super().__init__(deadline, shield)

    @override
    def __hash__(self) -> int:
        return self._number


@contextmanager
def numbered_scopes() -> Generator[None]:
    """Let anyio make its cancel scopes on asyncio as :class:`NumberedScope`."""
    names = anyio_on_asyncio.__dict__
    original = names["CancelScope"]
    names["CancelScope"] = NumberedScope
    try:
        yield
    finally:
        names["CancelScope"] = original


class IdleSelector(selectors.DefaultSelector):
    """Waits for threads only, and only while one works; else lets its loop jump."""

    def __init__(self, loop: VirtualEventLoop) -> None:
        super().__init__()
        self._loop = loop

    @override
    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():  # the first is the loop's own wake-up socket
            raise VirtualTimeError(
                "A real socket or pipe was used in virtual time, where every timeout would pass before it answers. "
                "Use an in-memory fake (httpx.MockTransport, anyio memory streams), or run the test in real time."
            )
        return super().register(fileobj, events, data)

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        busy = self._loop.thread_at_work()  # asked first: what a thread reports before is seen by the poll after
        ready = super().select(REAL_WAIT if busy else 0)
        if not ready and not busy:
            self._loop.jump(timeout)
        return ready


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An asyncio loop with virtual time: starts at 0.0 and jumps to the next timer when nothing can run.

    It does not jump while a thread of ``run_in_executor`` or ``anyio.to_thread`` works. Threads that the program
    starts itself are unknown to it. It raises :class:`Deadlock` where another loop would wait for ever, and
    :class:`VirtualTimeError` for real sockets, pipes and child processes. Tasks run first come, first served.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._executor_calls = 0
        self._deadlocked: frozenset[asyncio.Task[Any]] = frozenset()
        self._numbers = itertools.count(1)
        self.around_step: Callable[[asyncio.Task[object], Callable[[], object]], None] | None = None
        """If set, it is called with the task and its step in place of each step of a task."""
        super().__init__(IdleSelector(self))
        # The machine's resolution is too fine for large times and, on Windows, so coarse that timers would fire early.
        self._clock_resolution = TICK / 2

    def next_number(self) -> int:
        """A number that this loop did not give before, counting from 1."""
        return next(self._numbers)

    @override
    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any) -> asyncio.Task[T]:
        number = self.next_number()
        if options.get("name") is None:  # asyncio's own names count over all loops
            options["name"] = f"Task-{number}"
        return NumberedTask(number, coro, loop=self, **options)

    @override
    def run_forever(self) -> None:
        with numbered_scopes():
            super().run_forever()

    @override
    def time(self) -> float:
        return self._now

    def jump(self, timeout: float | None) -> None:
        """Let ``timeout`` seconds pass; None means that no timer is set."""
        if timeout is None:
            self._end_deadlock()
        else:
            self._now += timeout

    def _end_deadlock(self) -> None:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        if tasks and self._deadlocked.issuperset(tasks):  # asyncio.run() cancelled them, and they wait again
            for task in tasks:
                task.cancel()
            return
        self._deadlocked = frozenset(tasks)
        raise Deadlock(waiting_line(task.get_name(), task.get_coro()) for task in tasks)

    @override
    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if when >= HORIZON:
            return asyncio.TimerHandle(when, callback, args, self, context)
        on_grid = max(math.ceil(when / TICK) * TICK, self._now + TICK)  # a tick, or `sleep(1e-17)` would spin
        return super().call_at(on_grid, callback, *args, context=context)

    @override
    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if self.around_step is not None:
            task: object = getattr(callback, "__self__", None)
            if isinstance(task, asyncio.Task):
                step = partial(self.around_step, cast("asyncio.Task[object]", task), partial(callback, *args))
                return super().call_soon(step, context=context)
        return super().call_soon(callback, *args, context=context)

    def thread_at_work(self) -> bool:
        """True while a thread works for this loop, or its result is not reported yet."""
        return self._executor_calls > 0 or any(works_for(self, thread) for thread in threading.enumerate())

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._executor_calls += 1
        future.add_done_callback(self._executor_call_ended)
        return future

    def _executor_call_ended(self, _future: asyncio.Future[Any]) -> None:
        self._executor_calls -= 1

    @override
    async def shutdown_default_executor(self, *timeout: Any) -> None:
        self._executor_calls += 1  # the threads are joined in yet another thread
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._executor_calls -= 1


def works_for(loop: VirtualEventLoop, thread: threading.Thread) -> bool:
    """True if it is one of anyio's worker threads with work for that loop.

    anyio keeps the threads, each with a queue; the queue counts the work as unfinished until it is reported.
    """
    queue: object = getattr(thread, "queue", None)
    return getattr(thread, "loop", None) is loop and isinstance(queue, Queue) and queue.unfinished_tasks > 0
