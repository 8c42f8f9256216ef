"""Room for pending operations, and those who wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from ratesync.clock import Clock, timeout_at
from ratesync.errors import QueueFull


class Waiter:
    """Somebody who wants room for ``size`` operations."""

    __slots__ = ("event", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.event = anyio.Event()


class Room:
    """Counts pending operations. Who came first gets room first, however much it wants."""

    def __init__(self, *, capacity: int, clock: Clock) -> None:
        self.capacity = capacity
        self.pending = 0
        self._clock = clock
        self._waiters: deque[Waiter] = deque()

    def has(self, size: int) -> bool:
        """Whether there is room for ``size`` more, before which nobody else comes."""
        return not self._waiters and self.pending + size <= self.capacity

    def enter(self, size: int) -> Waiter:
        """Stand in line. :meth:`leave` must follow."""
        waiter = Waiter(size)
        self._waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Leave the line, with room taken or without."""
        self._waiters.remove(waiter)
        self.call()

    def call(self) -> None:
        """Wake who is first in line if there is room for it."""
        if self._waiters and self.pending + self._waiters[0].size <= self.capacity:
            self._waiters[0].event.set()

    async def wait(self, waiter: Waiter, count: Callable[[], int], until: float) -> None:
        """Wait until it is the waiter's turn and there is room for what it wants by then.

        :raises QueueFull: that was not so by the instant ``until``.
        """
        with timeout_at(self._clock, until):
            while not self._may_pass(waiter, count()):
                await waiter.event.wait()
                waiter.event = anyio.Event()
        if not self._may_pass(waiter, count()):
            raise self.full(waiter.size)

    def _may_pass(self, waiter: Waiter, size: int) -> bool:
        waiter.size = size
        return size == 0 or (self._waiters[0] is waiter and self.pending + size <= self.capacity)

    def full(self, size: int) -> QueueFull:
        """The error for somebody who wanted room for ``size`` operations."""
        return QueueFull(
            f"no room for {size} more operations: {self.pending} of {self.capacity} are pending. Nothing was enqueued; "
            "submit fewer at once, wait for room, or raise the capacity.",
            capacity=self.capacity,
        )
