"""Whose turn it is among the lanes of one provider, and when lanes that rest wake up."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf

from ratesync.memory.lane_queue import LaneQueue
from ratesync.memory.mailbox import MOST_GARBAGE
from ratesync.model.lane import Lane
from ratesync.rules import fairness

MOST_DEBTS = 1000
"""Lanes that are gone and whose virtual time is remembered. Forgetting one costs the others at most one batch."""


class Turns:
    """The open lanes of one provider by virtual time (see :mod:`ratesync.rules.fairness`).

    Each provider counts virtual time by itself, ``offset`` apart from the queue's. So a worker that serves one
    provider only moves no lane of the others, and a provider that nobody served for a while claims nothing for it.
    """

    __slots__ = (
        "_bounded",
        "_debts",
        "_held_max",
        "_latest",
        "_numbers",
        "_open",
        "_wakes",
        "current",
        "held_least",
        "lanes",
        "offset",
    )

    def __init__(self, numbers: Iterator[int]) -> None:
        self.lanes = 0
        """Lanes that exist."""
        self.current = 0.0
        """Virtual time of the latest turn."""
        self.held_least = inf
        """The lowest bound so far: who waits may have been kept from a lane by no lower one."""
        self.offset = 0.0
        """What to add for the queue's virtual time."""
        self._held_max = inf
        self._bounded: dict[LaneQueue, None] = {}
        self._latest = 0.0
        """The highest virtual time of any lane so far."""
        self._numbers = numbers
        self._open: list[tuple[float, int, LaneQueue]] = []
        self._wakes: list[tuple[float, int, LaneQueue]] = []
        self._debts: dict[Lane, float] = {}

    def admit(self, queue: LaneQueue) -> None:
        """Take note of a new lane, which owes what it owed when it went."""
        self.lanes += 1
        queue.virtual_time = self._debts.pop(queue.lane, 0.0)

    def dismiss(self, queue: LaneQueue) -> None:
        """Take note of a lane that is gone."""
        self.lanes -= 1
        queue.wake_at = None
        self._bounded.pop(queue, None)
        if queue.virtual_time > self.current:
            if len(self._debts) >= MOST_DEBTS:
                self._debts = dict(islice(self._debts.items(), MOST_DEBTS // 2, None))
            self._debts[queue.lane] = queue.virtual_time

    def join(self, queue: LaneQueue) -> None:
        """Let an open lane that is not listed have its turn, if not as much of it is leased as may be."""
        if queue.held >= self._held_max:
            self._bounded[queue] = None
            return
        self._bounded.pop(queue, None)
        queue.virtual_time = fairness.join(queue.virtual_time, self.current)
        self._list(queue)

    def bound(self, held_max: float) -> None:
        """Set how many mailboxes of one lane may be leased at the same time, for the claim that begins."""
        is_wider = held_max > self._held_max
        self._held_max = held_max
        self.held_least = min(self.held_least, held_max)
        if is_wider:
            for queue in list(self._bounded):
                self.join(queue)

    def room(self, queue: LaneQueue) -> float:
        """How many more mailboxes of the lane may be leased now."""
        return self._held_max - queue.held

    def head(self, now: float) -> LaneQueue | None:
        """The open lane whose turn is next."""
        while self._open:
            queue = self._open[0][2]
            is_bounded = queue.held >= self._held_max
            if queue.is_open(now) and not is_bounded:
                return queue
            heappop(self._open)
            queue.is_listed = False
            if is_bounded and queue.ready:
                self._bounded[queue] = None
        return None

    def begin(self) -> LaneQueue:
        """Take the head off the list: its turn begins."""
        queue = heappop(self._open)[2]
        queue.is_listed = False
        self.current = queue.virtual_time
        return queue

    def end(self, queue: LaneQueue, amount: int) -> None:
        """End the turn of a lane that was served ``amount`` operations."""
        queue.virtual_time = fairness.charge(queue.virtual_time, amount, queue.weight)
        self._latest = max(self._latest, queue.virtual_time)
        if queue.ready:
            self._list(queue)
        elif not self._open:
            self.current = self._latest
            self._debts.clear()

    def wake(self, queue: LaneQueue, at: float | None) -> None:
        """Have the lane woken at the instant ``at`` and at no other."""
        queue.wake_at = at
        if at is not None:
            heappush(self._wakes, (at, next(self._numbers), queue))
            if len(self._wakes) > 2 * self.lanes + MOST_GARBAGE:
                wakes = {id(entry[2]): entry for entry in self._wakes if entry[2].wake_at == entry[0]}
                self._wakes = list(wakes.values())
                heapify(self._wakes)

    def woken(self, now: float) -> LaneQueue | None:
        """The next lane that is to be woken by now; None if there is none left."""
        at = self.next_wake()
        if at is None or at > now:
            return None
        queue = heappop(self._wakes)[2]
        queue.wake_at = None
        return queue

    def next_wake(self) -> float | None:
        """The instant at which the next lane is to be woken."""
        while self._wakes and self._wakes[0][2].wake_at != self._wakes[0][0]:
            heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def _list(self, queue: LaneQueue) -> None:
        queue.is_listed = True
        heappush(self._open, (queue.virtual_time, next(self._numbers), queue))
        if len(self._open) > 2 * self.lanes + MOST_GARBAGE:
            for _, _, other in self._open:
                other.is_listed = other.ready > 0
            self._open = [entry for entry in self._open if entry[2].is_listed]
            heapify(self._open)
