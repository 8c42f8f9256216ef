"""A queue in this process's memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf

import anyio.lowlevel

from ratesync.clock import Clock, SystemClock
from ratesync.errors import DeadLettersFull
from ratesync.memory.dead_letters import DeadLetters
from ratesync.memory.leases import Leases
from ratesync.memory.ledger import Ledger, entry
from ratesync.memory.room import Room
from ratesync.memory.store import Store
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import (
    CancelResult,
    Claim,
    ClaimRequest,
    Durability,
    Enqueued,
    Entry,
    Item,
    Lease,
    QueueStats,
    Settlement,
)
from ratesync.rules.priority import PRIORITY_STEP

MEBIBYTE = 1_048_576


class MemoryQueue:
    """A :class:`~ratesync.protocols.queue.QueueBackend` in this process's memory, for the tasks of one event loop.

    It lives with the process: a crash loses what is queued. Costs depend on what a call is given, not on what is
    queued. Memory is bounded by the capacities: about 800 bytes for each small operation.

    Args:
        capacity: Most pending operations. Default 100,000.
        dead_letter_capacity: With so many dead letters no more operations are accepted. Default 10,000.
        result_capacity: Most finished operations that are remembered. The oldest go first. Default 10,000.
        result_seconds: How long finished operations are remembered. Default one hour.
        lease_seconds: How long a worker may give no sign of life. Default 15 s.
        mailbox_max: Most operations of one mailbox in a lease. Default 100.
        claim_bytes: Most bytes of bodies in a claim; one body alone may have more. Default 8 MiB.
        priority_step: Seconds of waiting that one step of priority is worth. Default 60 s.
        clock: Default: the machine's clock.
    """

    def __init__(
        self,
        *,
        capacity: int = 100_000,
        dead_letter_capacity: int = 10_000,
        result_capacity: int = 10_000,
        result_seconds: float = 3600.0,
        lease_seconds: float = 15.0,
        mailbox_max: int = 100,
        claim_bytes: int = 8 * MEBIBYTE,
        priority_step: float = PRIORITY_STEP,
        clock: Clock | None = None,
    ) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._mailbox_max = mailbox_max
        self._claim_bytes = claim_bytes
        self._ledger = Ledger(capacity=result_capacity, seconds=result_seconds)
        self._dead = DeadLetters(capacity=dead_letter_capacity)
        self._leases = Leases(seconds=lease_seconds)
        self._room = Room(capacity=capacity, clock=self._clock)
        self._store = Store(
            ledger=self._ledger,
            dead=self._dead,
            leases=self._leases,
            room=self._room,
            priority_step=priority_step,
            clock=self._clock,
        )
        self._lanes = self._store.lanes

    @property
    def durability(self) -> Durability:
        """Always ``process``."""
        return Durability.PROCESS

    @property
    def lease_seconds(self) -> float:
        """How long a worker may give no sign of life before it loses its leases."""
        return self._leases.seconds

    async def open(self) -> None:
        """Nothing to do."""
        await anyio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Nothing to do; queued items stay."""
        await anyio.lowlevel.checkpoint()

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        """Accept all items or none; see :meth:`ratesync.protocols.queue.QueueBackend.enqueue`.

        :raises QueueFull: there is no room, or could never be for so many; nothing was enqueued.
        :raises DeadLettersFull: too many dead letters wait for a decision; nothing was enqueued.
        """
        await anyio.lowlevel.checkpoint()
        self._ledger.forget_old(self._clock.now())
        if self._room.has(len(items)) and not self._dead.is_full:
            return self._accept(items)
        new = self._ledger.new(items)
        self._check_dead_letters(new)
        if not new or self._room.has(len(new)):
            return self._accept(items)
        if wait_until is None or len(new) > self._room.capacity:
            raise self._room.full(len(new))
        waiter = self._room.enter(len(new))
        try:
            await self._room.wait(waiter, lambda: len(self._ledger.new(items)), wait_until)
            self._check_dead_letters(self._ledger.new(items))
            return self._accept(items)
        finally:
            self._room.leave(waiter)

    def _check_dead_letters(self, new: Sequence[Item]) -> None:
        # Only lanes that have dead letters are refused: one bad lane never stops another.
        if self._dead.is_full and any(self._lanes.has_dead_letters(item.lane) for item in new):
            raise DeadLettersFull(
                f"{self._dead.capacity} dead letters wait for a decision; replay or discard some. Nothing enqueued.",
                capacity=self._dead.capacity,
            )

    def _accept(self, items: Sequence[Item]) -> list[Enqueued]:
        now = self._clock.now()
        answers = self._store.accept(items, now)
        self._store.conclude(now)
        return answers

    async def claim(self, request: ClaimRequest) -> Claim:
        """Lease what is due, by fair choice among lanes; never waits for work. Counts as a sign of life."""
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        self._store.lapse(now)
        self._store.conclude(now)
        self._leases.sign(request.worker, now)
        batches = self._store.lease(request, mailbox_max=self._mailbox_max, budget=self._claim_bytes, now=now)
        next_at = min(self._next_instants(request, now), default=inf)
        return Claim(batches, None if next_at == inf else next_at, self._store.bell.marker)

    def _next_instants(self, request: ClaimRequest, now: float) -> Iterable[float]:
        yield from self._lanes.next_at(request.sizes, now)
        yield from self._leases.next_lapses(request.sizes, but=request.worker)

    async def wait(self, marker: int, until: float | None) -> None:
        """Return when something may have become claimable since the claim with this ``marker``, or at ``until``."""
        await anyio.lowlevel.checkpoint()
        await self._store.bell.wait(marker, until)

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle leases; False for each that was refused because it is no longer the mailbox's newest."""
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        self._leases.sign(worker, now)
        answers = self._store.settle(worker, settlements, now)
        self._store.conclude(now)
        return answers

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        """Give a sign of life; for each of ``leases`` whether the worker holds it. Lost ones stay lost."""
        await anyio.lowlevel.checkpoint()
        self.keep_alive(worker)
        return [self._leases.is_held(worker, lease) for lease in leases]

    def keep_alive(self, worker: str) -> None:
        """A sign of life, callable from any thread while the event loop is blocked."""
        self._leases.sign(worker, self._clock.now())

    async def park(self, lane: Lane, until: float) -> None:
        """Leave the lane alone until the instant ``until``; an instant in the past reopens it."""
        await anyio.lowlevel.checkpoint()
        self._lanes.park(lane, until, self._clock.now())
        self._store.bell.ring()

    async def pause(self, selector: Selector) -> None:
        """Leave the selected lanes alone, also those to come, until they are resumed. Leases held go on."""
        await anyio.lowlevel.checkpoint()
        self._lanes.pause(selector, self._clock.now())

    async def resume(self, selector: Selector) -> None:
        """Undo every pause whose lanes are all selected: ``Selector()`` undoes all. Parked lanes stay parked."""
        await anyio.lowlevel.checkpoint()
        self._lanes.resume(selector, self._clock.now())
        self._store.bell.ring()

    async def paused(self) -> Sequence[Selector]:
        """The pauses in force."""
        await anyio.lowlevel.checkpoint()
        return self._lanes.pauses()

    async def set_weight(self, lane: Lane, weight: float) -> None:
        """Give the lane ``weight`` (> 0) times the share of a lane of weight 1, the default.

        :raises ValueError: the weight is not a positive, finite number.
        """
        await anyio.lowlevel.checkpoint()
        if not 0 < weight < inf:
            raise ValueError(f"weight of lane {lane}: must be above 0 and finite, is {weight}")
        self._lanes.set_weight(lane, weight)

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        """Take operations back; one answer for each id in order."""
        await anyio.lowlevel.checkpoint()
        now = self._forget_old()
        answers = [self._store.cancel(operation_id, now) for operation_id in ids]
        self._store.conclude(now)
        return answers

    def _forget_old(self) -> float:
        now = self._clock.now()
        self._ledger.forget_old(now)
        return now

    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        """Look operations up; None for each that is not known (any more)."""
        await anyio.lowlevel.checkpoint()
        now = self._forget_old()
        return [self._look_up(operation_id, now) for operation_id in ids]

    def _look_up(self, operation_id: str, now: float) -> Entry | None:
        record = self._lanes.record(operation_id)
        if record is None:
            return None
        queue = self._lanes.find(record.lane)
        if queue is not None and record.state is OperationState.SCHEDULED:
            self._lanes.advance(queue, now)
        return entry(record)

    async def finished(self, operation_id: str, until: float | None) -> Entry | None:
        """Wait until the operation is completed, dead or cancelled; its entry then.

        At ``until`` (an instant; None: never) the entry as it is. None if the id is not known.
        """
        await anyio.lowlevel.checkpoint()
        if not self._ledger.is_pending(operation_id):
            return self._look_up(operation_id, self._forget_old())
        end = await self._store.finishes.wait(operation_id, until)
        return self._look_up(operation_id, self._forget_old()) if end is None else end

    async def drained(self, selector: Selector, until: float | None) -> bool:
        """Wait until the selected lanes have nothing pending, scheduled operations included; False at ``until``."""
        await anyio.lowlevel.checkpoint()
        return await self._store.drains.wait(selector, self._lanes.selected(selector), until)

    async def dead_letters(self, selector: Selector, *, after: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """Dead letters in the order in which they died, at most ``limit``, from behind the id ``after``.

        ``after`` may have been replayed or discarded meanwhile.
        """
        await anyio.lowlevel.checkpoint()
        page = islice(self._dead.page(selector, after), min(max(limit, 0), sys.maxsize))
        return [entry(record) for record in page]

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        """Put dead letters back at the end of their mailboxes; False where there is none.

        Attempts, lapses and ``sent_as`` start from 0. They come in even if the queue is full, as they were accepted
        before.
        """
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        answers = [self._store.replay(operation_id, now) for operation_id in ids]
        self._store.conclude(now)
        return answers

    async def discard(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget dead letters; False where there is none."""
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        answers = [self._store.discard(operation_id, now) for operation_id in ids]
        self._store.conclude(now)
        return answers

    async def stats(self, selector: Selector) -> QueueStats:
        """Count the selected lanes' operations by state."""
        await anyio.lowlevel.checkpoint()
        now = self._clock.now()
        queues = list(self._lanes.selected(selector))
        for queue in queues:
            self._lanes.advance(queue, now)
        return QueueStats(
            scheduled=sum(queue.counts[OperationState.SCHEDULED] for queue in queues),
            available=sum(queue.counts[OperationState.AVAILABLE] for queue in queues),
            leased=sum(queue.counts[OperationState.LEASED] for queue in queues),
            retryable=sum(queue.counts[OperationState.RETRYABLE] for queue in queues),
            dead=sum(queue.counts[OperationState.DEAD] for queue in queues),
        )
