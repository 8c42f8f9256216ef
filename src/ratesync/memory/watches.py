"""Those who wait for a change. All of it costs nothing while nobody waits."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from ratesync.clock import Clock, timeout_at
from ratesync.memory.lane_queue import LaneQueue
from ratesync.memory.ledger import entry
from ratesync.memory.mailbox import Record
from ratesync.model.lane import Lane, Selector
from ratesync.model.work import Entry


class Bell:
    """Wakes all workers that sleep. ``marker`` counts how often it rang."""

    def __init__(self, clock: Clock) -> None:
        self.marker = 0
        self._clock = clock
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        """Wake everybody."""
        self.marker += 1
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self, marker: int, until: float | None) -> None:
        """Sleep until the bell has rung since ``marker``, or until an instant."""
        if marker == self.marker:
            if self._event is None:
                self._event = anyio.Event()
            with timeout_at(self._clock, until):
                await self._event.wait()


class FinishWatch:
    """The end of one operation: waited for by ``count`` tasks, which find its ``entry`` then."""

    __slots__ = ("count", "entry", "event")

    def __init__(self) -> None:
        self.count = 0
        self.event = anyio.Event()
        self.entry: Entry | None = None


class FinishWatches:
    """Watches by operation id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[str, FinishWatch] = {}

    def report(self, record: Record) -> None:
        """Tell those who wait for this operation that it has finished."""
        if self._watches and (watch := self._watches.pop(record.id, None)) is not None:
            watch.entry = entry(record)
            watch.event.set()

    async def wait(self, operation_id: str, until: float | None) -> Entry | None:
        """Wait until the operation is finished; None at the instant ``until``."""
        watch = self._watches.setdefault(operation_id, FinishWatch())
        watch.count += 1
        try:
            with timeout_at(self._clock, until):
                await watch.event.wait()
        finally:
            watch.count -= 1
            if not watch.count and self._watches.get(operation_id) is watch:
                del self._watches[operation_id]
        return watch.entry


class DrainWatch:
    """Selected lanes, of which those in ``busy`` have something pending."""

    __slots__ = ("busy", "event", "selector")

    def __init__(self, selector: Selector, busy: set[Lane]) -> None:
        self.selector = selector
        self.busy = busy
        self.event = anyio.Event()


class DrainWatches:
    """Watches on lanes that run empty."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: list[DrainWatch] = []

    def report(self, queue: LaneQueue) -> None:
        """Tell that a lane has something pending, or nothing any more."""
        for watch in self._watches:
            if not watch.selector.matches(queue.lane):
                continue
            if queue.pending:
                watch.busy.add(queue.lane)
            else:
                watch.busy.discard(queue.lane)
                if not watch.busy:
                    watch.event.set()

    async def wait(self, selector: Selector, queues: Iterable[LaneQueue], until: float | None) -> bool:
        """Wait until none of the selected lanes has anything pending; False at the instant ``until``."""
        watch = DrainWatch(selector, {queue.lane for queue in queues if queue.pending})
        if not watch.busy:
            return True
        self._watches.append(watch)
        try:
            with timeout_at(self._clock, until):
                await watch.event.wait()
        finally:
            self._watches.remove(watch)
        return watch.event.is_set()
