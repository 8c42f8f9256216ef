"""All lanes of a queue: which exist, which are paused, parked or weighted, and which is next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from ratesync.memory.lane_queue import MOST_DUE, LaneQueue
from ratesync.memory.mailbox import MOST_GARBAGE, Fresh, Record
from ratesync.memory.turns import Turns
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState


class Lanes:
    """The lanes that have operations, and what is known of others: pauses, weights and parks.

    After a change in a lane, :meth:`plan` it; :meth:`close_if_empty` when operations left it.
    """

    def __init__(self, numbers: Iterator[int], records: dict[str, Fresh | Record]) -> None:
        self._numbers = numbers
        self._records = records
        self._by_number: dict[int, LaneQueue] = {}
        self._queues: dict[Lane, LaneQueue] = {}
        self._turns: dict[str, Turns] = {}
        self._virtual_time = 0.0
        self._pauses: dict[Selector, None] = {}
        self._weights: dict[Lane, float] = {}
        self._parks: dict[Lane, float] = {}
        self._most_parks = MOST_GARBAGE

    def find(self, lane: Lane) -> LaneQueue | None:
        """The lane's queue, if it has operations."""
        return self._queues.get(lane)

    def record(self, operation_id: str) -> Record | None:
        """The operation of that id."""
        known = self._records.get(operation_id)
        return self._by_number[known[8]].thaw(known) if isinstance(known, tuple) else known

    def has_dead_letters(self, lane: Lane) -> bool:
        """Whether the lane has dead letters."""
        queue = self._queues.get(lane)
        return queue is not None and queue.counts[OperationState.DEAD] > 0

    def open(self, lane: Lane) -> LaneQueue:
        """The lane's queue, made if need be."""
        queue = self._queues.get(lane)
        if queue is None:
            lane = Lane(*lane)
            queue = self._queues[lane] = LaneQueue(lane, self._numbers, self._records)
            self._by_number[queue.number] = queue
            queue.weight = self._weights.get(lane, 1.0)
            queue.parked_until = self._parks.pop(lane, 0.0)
            queue.is_paused = any(pause.matches(lane) for pause in self._pauses)
            turns = self._turns.get(lane.provider)
            if turns is None:
                turns = self._turns[lane.provider] = Turns(self._numbers)
            turns.admit(queue)
        return queue

    def selected(self, selector: Selector) -> Iterable[LaneQueue]:
        """The queues of the selected lanes."""
        if selector.provider is not None and selector.connection is not None:
            queue = self._queues.get(Lane(selector.provider, selector.connection))
            return () if queue is None else (queue,)
        return [queue for lane, queue in self._queues.items() if selector.matches(lane)]

    def plan(self, queue: LaneQueue, now: float) -> None:
        """Let the lane have its turn if it is open, and wake it when there will be more of it."""
        if queue.is_listed and queue.wake_at is None and queue.parked_until <= now and not queue.has_timers:
            return
        turns = self._turns[queue.lane.provider]
        wake_at = None
        if not queue.is_paused:
            wake_at = queue.next_timer()
            if queue.parked_until > now:
                if queue.ready:
                    wake_at = queue.parked_until
                elif wake_at is not None:
                    wake_at = max(wake_at, queue.parked_until)
            elif queue.ready and not queue.is_listed:
                turns.join(queue)
        if wake_at != queue.wake_at:
            turns.wake(queue, wake_at)

    def advance(self, queue: LaneQueue, now: float) -> None:
        """Bring the lane up to date: what is due by now enters its mailbox."""
        if queue.advance(now):
            self.plan(queue, now)

    def close_if_empty(self, queue: LaneQueue, now: float) -> None:
        """Forget the lane's queue if it has no operations."""
        if queue.pending or queue.counts[OperationState.DEAD]:
            return
        del self._queues[queue.lane], self._by_number[queue.number]
        self._turns[queue.lane.provider].dismiss(queue)
        self._keep_park(queue.lane, queue.parked_until, now)

    def wake(self, providers: Iterable[str], now: float) -> None:
        """Bring the lanes up to date that have something due by now."""
        budget = MOST_DUE
        for provider in providers:
            turns = self._turns.get(provider)
            while turns is not None and budget > 0 and (queue := turns.woken(now)) is not None:
                budget -= 1 + queue.advance(now, budget)
                self.plan(queue, now)

    def next_turn(self, providers: Iterable[str], now: float) -> LaneQueue | None:
        """Begin the turn of the open lane that has had least for its weight; None if no lane is open."""
        first: Turns | None = None
        lowest = 0.0
        for provider in providers:
            turns = self._turns.get(provider)
            head = turns.head(now) if turns is not None else None
            if turns is None or head is None:
                continue
            virtual_time = head.virtual_time + turns.offset
            if virtual_time < self._virtual_time:
                turns.offset += self._virtual_time - virtual_time
                virtual_time = self._virtual_time
            if first is None or virtual_time < lowest:
                first, lowest = turns, virtual_time
        if first is None:
            return None
        self._virtual_time = lowest
        return first.begin()

    def bound(self, providers: Iterable[str], held_max: Mapping[str, int]) -> None:
        """Set how many mailboxes of one lane may be leased at the same time, for the claim that begins."""
        for provider in providers:
            turns = self._turns.get(provider)
            if turns is not None:
                turns.bound(held_max.get(provider, inf))

    def room(self, queue: LaneQueue) -> float:
        """How many more mailboxes of the lane the claim may lease."""
        return self._turns[queue.lane.provider].room(queue)

    def was_bounded(self, queue: LaneQueue) -> bool:
        """Whether somebody may have been kept from ready mailboxes because so much of the lane is leased."""
        return queue.ready > 0 and queue.held >= self._turns[queue.lane.provider].held_least

    def end_turn(self, queue: LaneQueue, amount: int) -> None:
        """End the turn of a lane that was served ``amount`` operations."""
        self._turns[queue.lane.provider].end(queue, amount)

    def next_at(self, providers: Iterable[str], now: float) -> Iterator[float]:
        """For each provider: now if a lane is open, else the instant at which the next lane wakes up."""
        for provider in providers:
            turns = self._turns.get(provider)
            if turns is None:
                continue
            if turns.head(now) is not None:
                yield now
            elif (wake_at := turns.next_wake()) is not None:
                yield max(wake_at, now)

    def park(self, lane: Lane, until: float, now: float) -> None:
        """Leave the lane alone until an instant."""
        queue = self._queues.get(lane)
        if queue is None:
            self._keep_park(Lane(*lane), until, now)
            return
        queue.parked_until = until
        self.advance(queue, now)
        self.plan(queue, now)

    def _keep_park(self, lane: Lane, until: float, now: float) -> None:
        self._parks[lane] = until
        if until <= now:
            del self._parks[lane]
        elif len(self._parks) > self._most_parks:
            self._parks = {lane: until for lane, until in self._parks.items() if until > now}
            self._most_parks = max(MOST_GARBAGE, 2 * len(self._parks))

    def set_weight(self, lane: Lane, weight: float) -> None:
        """Give the lane a weight."""
        self._weights[Lane(*lane)] = weight
        if weight == 1.0:
            del self._weights[lane]
        queue = self._queues.get(lane)
        if queue is not None:
            queue.weight = weight

    def pauses(self) -> list[Selector]:
        """The pauses in force, the oldest first."""
        return list(self._pauses)

    def pause(self, selector: Selector, now: float) -> None:
        """Leave the selected lanes alone."""
        self._pauses[Selector(*selector)] = None
        self._apply_pauses(selector, now)

    def resume(self, selector: Selector, now: float) -> None:
        """Undo the pauses that the selector covers."""
        self._pauses = {pause: None for pause in self._pauses if not _covers(selector, pause)}
        self._apply_pauses(selector, now)

    def _apply_pauses(self, selector: Selector, now: float) -> None:
        for queue in self.selected(selector):
            queue.is_paused = any(pause.matches(queue.lane) for pause in self._pauses)
            self.advance(queue, now)
            self.plan(queue, now)


def _covers(selector: Selector, pause: Selector) -> bool:
    """Whether every lane of the pause is selected."""
    return selector.provider in {None, pause.provider} and selector.connection in {None, pause.connection}
