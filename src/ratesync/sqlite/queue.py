"""A queue in a SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from math import inf
from typing import Concatenate, ParamSpec, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ratesync.clock import Clock, timeout_at
from ratesync.errors import EnqueueUncertain, QueueError, RateSyncError
from ratesync.model.lane import Lane, Selector
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
from ratesync.rules.lifecycle import FINAL
from ratesync.rules.priority import PRIORITY_STEP
from ratesync.sqlite import claims, intake, orders, records, settlement
from ratesync.sqlite.book import Book, Limits
from ratesync.sqlite.call import Joint, Transaction, Work
from ratesync.sqlite.file import SqliteFile
from ratesync.sqlite.names import findable, findable_ids, findable_lanes
from ratesync.sqlite.watches import Watch, Watches
from ratesync.sqlite.writer import Uncertain

MEBIBYTE = 1_048_576

P = ParamSpec("P")
T = TypeVar("T")


class SqliteQueue:
    """A :class:`~ratesync.protocols.queue.QueueBackend` in a SQLite file, for the processes of one machine.

    What is accepted is on disk. Costs depend on what a call is given, not on what is queued. One thread makes all
    changes, as many as have gathered in one transaction.

    Args:
        file: Path of the database, or the file that a state store uses, too.
        durability: ``fsync`` (default): on disk before it is accepted. ``fsync-1s``: within about a second.
        capacity: Most pending operations. Default 1,000,000.
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
        file: str | os.PathLike[str] | SqliteFile,
        *,
        durability: Durability = Durability.FSYNC,
        capacity: int = 1_000_000,
        dead_letter_capacity: int = 10_000,
        result_capacity: int = 10_000,
        result_seconds: float = 3600.0,
        lease_seconds: float = 15.0,
        mailbox_max: int = 100,
        claim_bytes: int = 8 * MEBIBYTE,
        priority_step: float = PRIORITY_STEP,
        clock: Clock | None = None,
    ) -> None:
        self._file = file if isinstance(file, SqliteFile) else SqliteFile(file, durability=durability, clock=clock)
        self._limits = Limits(
            capacity=capacity,
            dead_letter_capacity=dead_letter_capacity,
            result_capacity=result_capacity,
            result_seconds=result_seconds,
            lease_seconds=lease_seconds,
            mailbox_max=mailbox_max,
            claim_bytes=claim_bytes,
            priority_step=priority_step,
        )
        self._watches = Watches()
        self._unheard: dict[str, list[Settlement]] = {}
        """By worker, how to give back what it never heard of having been leased."""
        self._file.look_elsewhere(self._watches.look)

    @property
    def durability(self) -> Durability:
        """What an accepted operation survives."""
        return self._file.durability

    @property
    def lease_seconds(self) -> float:
        """How long a worker may give no sign of life before it loses its leases."""
        return self._limits.lease_seconds

    async def open(self) -> None:
        """Open the file.

        :raises FileError: it cannot be used.
        """
        await self._file.open()

    async def close(self) -> None:
        """Close the file; queued items stay."""
        await self._file.close()

    def _work(self, change: Callable[Concatenate[Book, P], T], *args: P.args, **keywords: P.kwargs) -> Work[T]:
        def work(transaction: Transaction) -> T:
            book = cast("Book | None", transaction.kept.get(self))
            if book is None:
                book = transaction.kept[self] = Book(transaction, self._limits, self._watches)
            answer = change(book, *args, **keywords)
            book.ring()
            return answer

        return work

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        """Accept all items or none; see :meth:`ratesync.protocols.queue.QueueBackend.enqueue`.

        :raises QueueFull: there is no room, or could never be for so many; nothing was enqueued.
        :raises DeadLettersFull: too many dead letters wait for a decision; nothing was enqueued.
        :raises EnqueueUncertain: the disk failed in a way that leaves open whether they are stored.
        """
        try:
            if wait_until is None:
                return await self._file.ask(Joint(self._enqueue_each, items))
            return await self._enqueue_in_line(items, wait_until)
        except Uncertain as error:
            raise EnqueueUncertain(str(error), ids=[item.id for item in items]) from error

    def _enqueue_each(
        self, transaction: Transaction, calls: Sequence[Sequence[Item]]
    ) -> Sequence[Sequence[Enqueued] | RateSyncError]:
        return self._work(intake.enqueue_each, calls)(transaction)

    async def _enqueue_in_line(self, items: Sequence[Item], wait_until: float) -> Sequence[Enqueued]:
        watch = Watch(None)
        with self._watches.in_line(watch), ExitStack() as stack:
            answers = await self._file.ask(self._work(intake.enqueue, items, watch))
            if answers is not None:
                return answers
            stack.enter_context(self._file.watching())
            while answers is None:
                with timeout_at(self._file.clock, wait_until) as timeout:
                    await watch.wait()
                # Not under the timeout: asked twice, the second answer would call duplicates what the first stored.
                is_late = timeout.cancelled_caught or self._file.clock.now() >= wait_until
                enqueue = intake.enqueue_at_last if is_late else intake.enqueue
                answers = await self._file.ask(self._work(enqueue, items, watch))
            return answers

    async def claim(self, request: ClaimRequest) -> Claim:
        """Lease what is due, by fair choice among lanes; never waits for work. Counts as a sign of life.

        If cancelled, it ends once the file has answered, and nothing stays leased: what the file does not take back
        then goes back before the worker's next claim.
        """
        await checkpoint_if_cancelled()
        claim = Claim((), None, 0)
        with anyio.CancelScope(shield=True):
            await self._give_back_unheard(request.worker)
            claim = await self._file.ask(self._work(claims.claim, request))
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(QueueError):  # for it would take the cancellation's place
                await self._give_back(request.worker, claim)
            raise
        return claim

    async def _give_back(self, worker: str, claim: Claim) -> None:
        """Undo a claim of which nobody hears: its leases would last as long as the worker gives signs of life."""
        leases = [lease for batch in claim.batches for lease in batch]
        self._unheard.setdefault(worker, []).extend(
            Settlement(lease, unsent=tuple(item.id for item in lease.items)) for lease in leases
        )
        await self._give_back_unheard(worker)

    async def _give_back_unheard(self, worker: str) -> None:
        unheard = self._unheard.pop(worker, [])
        if not unheard:
            return
        try:
            await self.settle(worker, unheard)
        except QueueError:
            self._unheard.setdefault(worker, []).extend(unheard)
            raise

    async def wait(self, marker: int, until: float | None) -> None:
        """Return when something may have become claimable since the claim with this ``marker``, or at ``until``."""
        with self._watches.news() as watch, self._file.watching():
            if marker == await self._file.ask(self._work(_bell)):
                with timeout_at(self._file.clock, until):
                    await watch.wait()

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle leases; False for each that was refused because it is no longer the mailbox's newest."""
        return await self._file.ask(self._work(settlement.settle, worker, settlements))

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        """Give a sign of life; for each of ``leases`` whether the worker holds it. Lost ones stay lost."""
        return await self._file.ask(self._work(_extend, worker, leases))

    def keep_alive(self, worker: str) -> None:
        """A sign of life, callable from any thread while the event loop is blocked."""
        self._file.tell(self._work(settlement.sign, worker))

    async def park(self, lane: Lane, until: float) -> None:
        """Leave the lane alone until the instant ``until``; an instant in the past reopens it."""
        await self._file.ask(self._work(orders.park, lane, until))

    async def pause(self, selector: Selector) -> None:
        """Leave the selected lanes alone, also those to come, until they are resumed. Leases held go on."""
        await self._file.ask(self._work(orders.pause, findable_lanes(selector)))

    async def resume(self, selector: Selector) -> None:
        """Undo every pause whose lanes are all selected: ``Selector()`` undoes all. Parked lanes stay parked."""
        await self._file.ask(self._work(orders.resume, findable_lanes(selector)))

    async def paused(self) -> Sequence[Selector]:
        """The pauses in force."""
        return await self._file.ask(self._work(Book.pauses))

    async def set_weight(self, lane: Lane, weight: float) -> None:
        """Give the lane ``weight`` (> 0) times the share of a lane of weight 1, the default.

        :raises ValueError: the weight is not a positive, finite number.
        """
        if not 0 < weight < inf:
            raise ValueError(f"weight of lane {lane}: must be above 0 and finite, is {weight}")
        await self._file.ask(self._work(orders.set_weight, lane, weight))

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        """Take operations back; one answer for each id in order."""
        return await self._file.ask(self._work(records.cancel, findable_ids(ids)))

    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        """Look operations up; None for each that is not known (any more)."""
        return await self._file.ask(self._work(records.get, findable_ids(ids)))

    async def finished(self, operation_id: str, until: float | None) -> Entry | None:
        """Wait until the operation is completed, dead or cancelled; its entry then.

        At ``until`` (an instant; None: never) the entry as it is. None if the id is not known. An end in another
        process is noticed within 50 ms; if it is forgotten by then, the answer is None.
        """
        with self._watches.ends(operation_id) as watch, self._file.watching():
            (entry,) = await self.get([operation_id])
            with timeout_at(self._file.clock, until):
                while watch.entry is None and entry is not None and entry.state not in FINAL:
                    await watch.wait()
                    if watch.entry is None:
                        (entry,) = await self.get([operation_id])
            if watch.entry is None and entry is not None and entry.state not in FINAL:
                (entry,) = await self.get([operation_id])
            return watch.entry or entry

    async def drained(self, selector: Selector, until: float | None) -> bool:
        """Wait until the selected lanes have nothing pending, scheduled operations included; False at ``until``."""
        selector = findable_lanes(selector)
        with self._watches.drains(selector) as watch, self._file.watching():
            is_drained = await self._file.ask(self._work(Book.is_drained, selector))
            with timeout_at(self._file.clock, until):
                while not is_drained:
                    await watch.wait()
                    is_drained = await self._file.ask(self._work(Book.is_drained, selector))
            return is_drained

    async def dead_letters(self, selector: Selector, *, after: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """Dead letters in the order in which they died, at most ``limit``, from behind the id ``after``.

        ``after`` may have been replayed or discarded meanwhile.
        """
        behind = None if after is None else findable(after)
        return await self._file.ask(self._work(records.dead_letters, findable_lanes(selector), behind, limit))

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        """Put dead letters back at the end of their mailboxes; False where there is none.

        Attempts, lapses and ``sent_as`` start from 0. They come in even if the queue is full, as they were accepted
        before.
        """
        return await self._file.ask(self._work(records.replay, findable_ids(ids)))

    async def discard(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget dead letters; False where there is none."""
        return await self._file.ask(self._work(records.discard, findable_ids(ids)))

    async def stats(self, selector: Selector) -> QueueStats:
        """Count the selected lanes' operations by state."""
        return await self._file.ask(self._work(records.stats, findable_lanes(selector)))


def _bell(book: Book) -> int:
    return book.bell


def _extend(book: Book, worker: str, leases: Sequence[Lease]) -> list[bool]:
    number = settlement.sign(book, worker)
    return [settlement.is_held(book, number, lease) for lease in leases]
