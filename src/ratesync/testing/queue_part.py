"""What the parts of the queues' conformance suite have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import anyio
import pytest
from attrs import frozen

from ratesync.clock import Clock, SystemClock
from ratesync.protocols import QueueBackend
from ratesync.testing.suite import Suite

Advance = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass."""


class MakeQueue(Protocol):
    """Gives a new queue, empty and open; it is closed after the test. Options as for ``queue_factory``."""

    async def __call__(self, **options: Any) -> QueueBackend:
        """Make it."""
        ...


@frozen
class Timeline:
    """Time in units of the suite's ``second``."""

    clock: Clock
    second: float
    advance: Advance

    def after(self, units: float) -> float:
        """The instant so many units from now."""
        return self.clock.now() + units * self.second

    async def sleep(self, units: float) -> None:
        """Let units of time pass."""
        await self.advance(units * self.second)

    def limit(self, units: float) -> AbstractContextManager[anyio.CancelScope]:
        """A scope that fails the test if its block takes longer."""
        return anyio.fail_after(units * self.second)

    @contextmanager
    def takes(self, units: float) -> Generator[None]:
        """The block must take so many units of time, give or take a half."""
        before = self.clock.now()
        with anyio.fail_after((units + 5) * self.second):
            yield
        assert self.clock.now() - before == pytest.approx(units * self.second, abs=0.5 * self.second)


class QueuePart(Suite):
    """The fixtures. :class:`ratesync.testing.queue_suite.QueueSuite` says which of them are the author's."""

    pytestmark = pytest.mark.anyio

    second = 1.0
    """Length of the suite's unit of time, in seconds. The longest test passes some 100 units."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the queues use."""
        return SystemClock()

    @pytest.fixture
    def advance(self) -> Advance:
        """How time passes."""
        return anyio.sleep

    @pytest.fixture
    def timeline(self, clock: Clock, advance: Advance) -> Timeline:
        """Time in units."""
        return Timeline(clock, self.second, advance)

    @pytest.fixture
    async def make_queue(self, queue_factory: Callable[..., QueueBackend]) -> AsyncIterator[MakeQueue]:
        """Gives open queues."""
        made: list[QueueBackend] = []

        async def make(**options: Any) -> QueueBackend:
            queue = queue_factory(**self.options(**options))
            await queue.open()
            made.append(queue)
            return queue

        yield make
        for queue in made:
            await queue.close()

    @pytest.fixture
    async def queue(self, make_queue: MakeQueue) -> QueueBackend:
        """A new queue."""
        return await make_queue()

    def options(self, **options: Any) -> dict[str, Any]:
        """The options of a queue. Durations are given in units."""
        durations = {"lease_seconds": 15.0, "priority_step": 60.0, "result_seconds": 3600.0}
        given = {"capacity": 1_000_000, **durations, **options}
        return {name: value * self.second if name in durations else value for name, value in given.items()}
