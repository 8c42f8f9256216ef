"""What the queue holds, and every change of it. Nothing here waits, so that each change is made in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from ratesync.clock import Clock
from ratesync.memory import moves
from ratesync.memory.claims import Filling
from ratesync.memory.dead_letters import DeadLetters
from ratesync.memory.lane_queue import LaneQueue
from ratesync.memory.lanes import Lanes
from ratesync.memory.leases import Leases
from ratesync.memory.ledger import Ledger
from ratesync.memory.mailbox import Hold, Record
from ratesync.memory.moves import Moves
from ratesync.memory.room import Room
from ratesync.memory.watches import Bell, DrainWatches, FinishWatches
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import CancelResult, ClaimRequest, Enqueued, Item, Lease, Settlement
from ratesync.rules.lifecycle import FINAL
from ratesync.rules.priority import score


class Store:
    """The operations of a queue in all their states.

    Changes note the lanes they touch; :meth:`conclude` must follow them, once for each call of the queue.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        dead: DeadLetters,
        leases: Leases,
        room: Room,
        priority_step: float,
        clock: Clock,
    ) -> None:
        numbers = count(1)
        self.ledger = ledger
        self.dead = dead
        self.leases = leases
        self.room = room
        self.lanes = Lanes(numbers, ledger.records)
        self.bell = Bell(clock)
        self.finishes = FinishWatches(clock)
        self.drains = DrainWatches(clock)
        self._numbers = numbers
        self._tokens = count(1)
        self._priority_step = priority_step
        self._touched: dict[LaneQueue, None] = {}
        self._is_news = False
        """Whether a change may let somebody claim something, now or at an instant."""

    def accept(self, items: Sequence[Item], now: float) -> list[Enqueued]:
        """Add those items that are new."""
        answers: list[Enqueued] = []
        scores = {priority: score(now, priority, self._priority_step) for priority in {item.priority for item in items}}
        queue: LaneQueue | None = None
        for item in items:
            earlier = self.ledger.earlier(item)
            if earlier is not None:
                answers.append(Enqueued(earlier, True))
                continue
            if queue is None or queue.lane != item.lane:
                queue = self._touch(item.lane, now)
            self._add(queue, item, scores[item.priority], now)
            answers.append(Enqueued(item.id, False))
        return answers

    def _add(self, queue: LaneQueue, item: Item, rank: float, now: float) -> None:
        number = next(self._numbers)
        fresh = rank, number, item.id, item.key, item.body, item.priority, item.dedupe, now, queue.number
        self.ledger.add(fresh, queue.lane)
        self.room.pending += 1
        self._is_news = True
        if item.not_before is not None and item.not_before > now:
            record = queue.schedule(fresh, item.not_before)
            record.score = score(item.not_before, item.priority, self._priority_step)
        elif queue.is_behind(now):
            queue.schedule(fresh, now)
        else:
            queue.add(fresh)

    def _touch(self, lane: Lane, now: float) -> LaneQueue:
        """The lane's queue, up to date and noted as changed."""
        queue = self.lanes.open(lane)
        if queue not in self._touched:
            if queue.has_timers:
                queue.advance(now)
            self._touched[queue] = None
        return queue

    def conclude(self, now: float) -> None:
        """Do what follows from the changes: for the lanes, and for those who wait."""
        for queue in self._touched:
            self.drains.report(queue)
            self.lanes.plan(queue, now)
            if not queue.pending:
                self.lanes.close_if_empty(queue, now)
        self._touched.clear()
        self.room.call()
        if self._is_news:
            self._is_news = False
            self.bell.ring()

    def lease(
        self, request: ClaimRequest, *, mailbox_max: int, budget: int, now: float
    ) -> tuple[tuple[Lease, ...], ...]:
        """Lease what is due, by fair choice among the lanes."""
        filling = Filling(tokens=self._tokens, mailbox_max=mailbox_max, budget=budget)
        providers = [provider for provider, size in request.sizes.items() if size > 0]
        self.lanes.bound(providers, request.lane_max)
        self.lanes.wake(providers, now)
        while len(filling.batches) < request.calls and not filling.is_full:
            queue = self.lanes.next_turn(providers, now)
            if queue is None:
                break
            provider = queue.lane.provider
            holds, amount = filling.take(queue, int(min(request.sizes[provider], self.lanes.room(queue))))
            queue.held += len(holds)
            self.lanes.end_turn(queue, amount)
            if holds:
                self.leases.grant(request.worker, provider, holds, now)
        return tuple(filling.batches)

    def lapse(self, now: float) -> None:
        """Take back what silent workers hold."""
        for hold in self.leases.lapsed(now):
            queue = self._touch(hold.records[0].lane, now)
            for record in hold.records:
                queue.move(record, moves.LAPSE)
                record.lapses += 1
                record.sent_as = record.sent_as or hold.token
            self._give_back(queue, hold, hold.records, None, now)

    def settle(self, worker: str, settlements: Sequence[Settlement], now: float) -> list[bool]:
        """Settle those leases that the worker still holds."""
        for settlement in settlements:
            for end in settlement.finished:
                if end.state not in moves.ENDS:
                    raise ValueError(f"operation {end.id}: no settlement can make it {end.state}")
        answers: list[bool] = []
        queue: LaneQueue | None = None
        for settlement in settlements:
            hold = self.leases.release(worker, settlement.lease)
            answers.append(hold is not None)
            if hold is not None:
                lane = hold.records[0].lane
                if queue is None or queue.lane is not lane:
                    queue = self._touch(lane, now)
                left = self._end(queue, hold, settlement, now)
                self._give_back(queue, hold, left, settlement.resume_at, now)
        return answers

    def _end(self, queue: LaneQueue, hold: Hold, settlement: Settlement, now: float) -> list[Record]:
        """Give each record of the lease its state; those that stay queued."""
        left: list[Record] = []
        ends = {end.id: end for end in settlement.finished}
        attempted = settlement.attempted if len(hold.records) == 1 else frozenset(settlement.attempted)
        for record in hold.records:
            end = ends.get(record.id)
            if end is not None:
                self._finish(queue, record, moves.ENDS[end.state], end.result, now)
                continue
            left.append(record)
            if record.id in attempted:
                queue.move(record, moves.RETRY)
                record.attempts += settlement.counted
                if settlement.sent:
                    record.sent_as = record.sent_as or hold.token
                record.at = settlement.resume_at
            else:
                queue.move(record, moves.RELEASE)
                if record.id in settlement.unsent:
                    record.sent_as = 0
        return left

    def _give_back(
        self, queue: LaneQueue, hold: Hold, records: list[Record], resume_at: float | None, now: float
    ) -> None:
        """Put records of a lease that has ended back to the front of their mailbox."""
        mailbox = hold.mailbox
        mailbox.hold = None
        if self.lanes.was_bounded(queue):
            self._is_news = True
        queue.held -= 1
        if hold.wishes is not None:
            for record in records:
                if record.id in hold.wishes:
                    self._finish(queue, record, moves.CANCEL, None, now)
            records = [record for record in records if record.mailbox is not None]
        if records:
            mailbox.prepend(records)
        if mailbox.head is None:
            queue.drop_if_empty(mailbox, hold.records[0].key)
            return
        self._is_news = True
        if resume_at is not None and resume_at > now:
            queue.rest(mailbox, resume_at)
        else:
            queue.offer(mailbox)

    def _finish(self, queue: LaneQueue, record: Record, how: Moves, result: bytes | None, now: float) -> None:
        queue.move(record, how)
        queue.pending -= 1
        self.room.pending -= 1
        record.mailbox = None
        record.at = now
        record.result = result
        if record.state is OperationState.DEAD:
            self.dead.add(record)
        else:
            self.ledger.remember(record)
        self.finishes.report(record)

    def cancel(self, operation_id: str, now: float) -> CancelResult:
        """Take an operation back, or note the wish to if a worker holds it."""
        record = self.lanes.record(operation_id)
        if record is None:
            return CancelResult.UNKNOWN
        if record.state in FINAL:
            return CancelResult.FINISHED
        queue = self._touch(record.lane, now)
        mailbox = record.mailbox
        if record.state is OperationState.LEASED:
            if mailbox is not None and mailbox.hold is not None:
                mailbox.hold.wishes = (mailbox.hold.wishes or set()) | {record.id}
            return CancelResult.REQUESTED
        self._finish(queue, record, moves.CANCEL, None, now)
        if mailbox is not None:
            queue.withdraw(record, mailbox)
        return CancelResult.CANCELLED

    def replay(self, operation_id: str, now: float) -> bool:
        """Put a dead letter back at the end of its mailbox."""
        record = self.lanes.record(operation_id)
        if record is None or record.state not in moves.REPLAY:
            return False
        queue = self._touch(record.lane, now)
        while queue.advance(now):
            pass
        rank = score(now, record.priority, self._priority_step)
        again = Record(record.fresh(rank), record.lane, record.state)
        self.ledger.records[again.id] = again
        self.dead.remove(record.id)
        queue.move(again, moves.REPLAY)
        queue.pending += 1
        self.room.pending += 1
        self._is_news = True
        queue.enter(again)
        return True

    def discard(self, operation_id: str, now: float) -> bool:
        """Forget a dead letter."""
        record = self.lanes.record(operation_id)
        if record is None or record.state not in moves.DISCARDABLE:
            return False
        queue = self._touch(record.lane, now)
        queue.counts[record.state] -= 1
        self.dead.remove(record.id)
        self.ledger.forget(record)
        return True
