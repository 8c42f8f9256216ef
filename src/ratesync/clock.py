"""The one file that reads time."""

from __future__ import annotations

import time
from typing import Protocol

import anyio

MINIMUM_DELAY = 0.001
"""Shortest computed wait in seconds. Shorter ones may not move a clock forward at all and would spin."""


class Clock(Protocol):
    """Where the engine and the backends take the time from."""

    @property
    def is_virtual(self) -> bool:
        """True if time only passes when everybody waits, so that watching it from a thread makes no sense."""
        ...

    def now(self) -> float:
        """The instant in seconds since the epoch. Never goes backwards. Safe to call from any thread."""
        ...


class SystemClock:
    """The machine's clock, read once; from then on time is what the monotonic clock adds.

    So a step of the wall clock moves no lease, deadline or quota window.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    @property
    def is_virtual(self) -> bool:
        """Always False."""
        return False

    def now(self) -> float:
        """The instant in seconds since the epoch."""
        return self._offset + time.monotonic()


def delay_until(clock: Clock, at: float) -> float:
    """Seconds from now until ``at``, at least :data:`MINIMUM_DELAY`."""
    return max(MINIMUM_DELAY, at - clock.now())


async def sleep_until(clock: Clock, at: float) -> None:
    """Wait until the instant ``at``."""
    await anyio.sleep(delay_until(clock, at))


def timeout_at(clock: Clock, at: float | None) -> anyio.CancelScope:
    """A scope that ends quietly at the instant ``at``; None for never."""
    return anyio.CancelScope() if at is None else anyio.move_on_after(delay_until(clock, at))
