"""What one run of trio in virtual time needs: a clock that jumps, an order that repeats, an end to deadlocks."""

from __future__ import annotations

import importlib
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import anyio

from ratesync.testing.deadlock import Deadlock, waiting_line
from ratesync.testing.virtual_loop import TICK

if TYPE_CHECKING:
    from trio.lowlevel import Task

LONGEST_INSTANT = 1000
"""Rounds of trio's scheduler in one instant before time moves on by a tick, so that ``sleep(1e-17)`` cannot spin."""


class TrioRun:
    """One run of trio in virtual time: owner of its ``clock``, and itself an instrument (``trio.abc.Instrument``).

    As an instrument it makes the order of runnable tasks depend on ``seed`` alone and stops the clock while a thread
    of ``anyio.to_thread`` works.
    """

    def __init__(self, seed: int) -> None:
        import trio.testing

        self._seed = seed
        self._trio = trio.lowlevel
        self._active_threads = trio.testing.active_thread_count
        # No public switch exists; pytest-trio and Hypothesis set the same two names.
        self._scheduler = importlib.import_module("trio._core._run").__dict__
        self._saved = (self._scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"], self._scheduler["_r"].getstate())
        self._instant = 0.0
        self._rounds = 0
        self._idle_rounds = 0
        self._main: tuple[Task, anyio.CancelScope] | None = None
        self.clock = trio.testing.MockClock(autojump_threshold=0)
        self.deadlock: Deadlock | None = None
        """The deadlock that was ended, if any."""

    @contextmanager
    def ending_deadlocks(self) -> Generator[None]:
        """Cancel this block if it comes to a deadlock. It must be all that the main task does."""
        with anyio.CancelScope() as scope:
            self._main = self._trio.current_task(), scope
            yield
        self._main = None

    def before_run(self) -> None:
        """Called by trio: fix the order of runnable tasks."""
        self._scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
        self._scheduler["_r"].seed(self._seed)

    def after_run(self) -> None:
        """Called by trio: leave its scheduler as it was."""
        self._scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"] = self._saved[0]
        self._scheduler["_r"].setstate(self._saved[1])

    def after_task_step(self, _task: Task) -> None:
        """Called by trio: stop the clock if the step gave work to a thread, start it again if it took the result."""
        self._idle_rounds = 0
        threshold = math.inf if self._active_threads() else 0
        if threshold != self.clock.autojump_threshold:
            self.clock.autojump_threshold = threshold

    def before_io_wait(self, _timeout: float) -> None:
        """Called by trio in each round: make sure that the program gets somewhere."""
        self._idle_rounds += 1
        if self._idle_rounds > 2:  # one round jumps, the next wakes: a third has nothing to wake
            self._end_deadlock()
        now = self.clock.current_time()
        self._rounds = self._rounds + 1 if now == self._instant else 0
        self._instant = now
        if self._rounds > LONGEST_INSTANT and not self._active_threads():
            self.clock.jump(TICK)

    def _end_deadlock(self) -> None:
        statistics = self._trio.current_statistics()
        has_timer = statistics.seconds_to_next_deadline < math.inf
        if self._main is None or has_timer or statistics.run_sync_soon_queue_size or self._active_threads():
            return
        main, scope = self._main
        tasks = with_descendants(main)
        if self.deadlock is None:
            self.deadlock = Deadlock(waiting_line(task.name, task.coro) for task in tasks)
            scope.cancel()
            return
        for task in reversed(tasks):  # shielded from cancellation, so woken as trio does it for Control-C
            task._attempt_abort(self._raise_deadlock)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no other way

    def _raise_deadlock(self) -> NoReturn:
        raise Deadlock(() if self.deadlock is None else self.deadlock.waiting)


def with_descendants(task: Task) -> list[Task]:
    """The task and all tasks below it, each after the one that started it, siblings by name."""
    children = sorted(
        (child for nursery in task.child_nurseries for child in nursery.child_tasks), key=lambda it: it.name
    )
    return [task, *(below for child in children for below in with_descendants(child))]
