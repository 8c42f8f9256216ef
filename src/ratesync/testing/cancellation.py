"""Cancellation at a chosen checkpoint, so that a test can go through all of them in turn.

A checkpoint is a place where a task waits: it hands control to the event loop and later gets it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from inspect import CORO_CLOSED, getcoroutinestate
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVarTuple, Unpack

import anyio
import anyio.lowlevel
from typing_extensions import override

from ratesync.testing.deadlock import VirtualTimeError
from ratesync.testing.virtual_loop import VirtualEventLoop

if TYPE_CHECKING:
    from trio.lowlevel import Task

__all__ = ["CheckpointCanceller", "run_with_cancellation_at"]

Ts = TypeVarTuple("Ts")
Moment = Literal["waiting", "resuming"]


class CheckpointCanceller:
    """Cancels the block that it surrounds at the ``at``-th checkpoint in it, counted from 1.

    ::

        async with CheckpointCanceller(at=7) as canceller:
            await program()
        assert canceller.reached  # else the program has fewer than 7 checkpoints

    It counts the checkpoints of the task that enters the block and of the tasks started in the block, all together.
    It cancels them as one ``anyio.CancelScope``, so the block ends quietly. ``moment`` says when:

    - ``waiting`` (default): as soon as the task has begun to wait. What it waits for does not come about.
    - ``resuming``: what it waits for has come and the task is about to go on, or to start. It goes on with the result
      and is cancelled at the door of its next checkpoint, even of one that would not have had to wait.

    Both moments together are all that a cancellation can meet. On asyncio it works in virtual time only. A run can
    have one at a time.
    """

    def __init__(self, at: int, *, moment: Moment = "waiting") -> None:
        if at < 1:
            raise ValueError(f"at={at}: checkpoints are counted from 1")
        self._at = at
        self._moment = moment
        self._exits = ExitStack()
        self._scope: anyio.CancelScope | None = None
        self.count = 0
        """Checkpoints seen so far."""

    @property
    def reached(self) -> bool:
        """True if there were ``at`` checkpoints, so that the block was cancelled."""
        return self.count >= self._at

    async def __aenter__(self) -> Self:
        with ExitStack() as exits:
            exits.enter_context(self._watch())
            await anyio.lowlevel.checkpoint()  # the step under way began unwatched, so count from the next
            self._scope = exits.enter_context(anyio.CancelScope())
            exits.callback(CANCELLER.reset, CANCELLER.set(self))
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._scope = None
        return self._exits.__exit__(kind, error, traceback)

    def _see(self, moment: Moment) -> None:
        if self._scope is not None and moment == self._moment:
            self.count += 1
            if self.count == self._at:
                self._scope.cancel()

    def _watch(self) -> AbstractContextManager[None]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._watch_trio()
        if isinstance(loop, VirtualEventLoop):
            return self._watch_asyncio(loop)
        raise VirtualTimeError(f"Checkpoints cannot be watched in {loop}. Run the program by run_virtual().")

    @contextmanager
    def _watch_asyncio(self, loop: VirtualEventLoop) -> Generator[None]:
        def around_step(task: asyncio.Task[object], step: Callable[[], object]) -> None:
            if CANCELLER.get() is self:
                self._see("resuming")
            step()
            if CANCELLER.get() is self and not task.done():
                self._see("waiting")

        loop.around_step = around_step
        try:
            yield
        finally:
            loop.around_step = None

    @contextmanager
    def _watch_trio(self) -> Generator[None]:
        from trio.abc import Instrument
        from trio.lowlevel import add_instrument, remove_instrument

        canceller = self

        class Steps(Instrument):
            @override
            def before_task_step(self, task: Task) -> None:
                if task.context.get(CANCELLER) is canceller:
                    canceller._see("resuming")

            @override
            def after_task_step(self, task: Task) -> None:
                if task.context.get(CANCELLER) is canceller and getcoroutinestate(task.coro) != CORO_CLOSED:
                    canceller._see("waiting")

        steps = Steps()
        add_instrument(steps)
        try:
            yield
        finally:
            remove_instrument(steps)


CANCELLER: ContextVar[CheckpointCanceller | None] = ContextVar("CANCELLER", default=None)
"""The canceller in whose block a task was started; tasks inherit it with their context."""


async def run_with_cancellation_at(
    at: int, main: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts, moment: Moment = "waiting"
) -> bool:
    """Run ``main(*args)``, cancel it at its ``at``-th checkpoint, and return whether there were so many."""
    async with CheckpointCanceller(at, moment=moment) as canceller:
        await main(*args)
    return canceller.reached
