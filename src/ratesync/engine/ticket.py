"""A ticket: what the host holds of an operation it submitted."""

from __future__ import annotations

import os
from weakref import WeakValueDictionary

from ratesync.clock import Clock
from ratesync.codec import decode_outcome
from ratesync.errors import ForkedProcess, OperationCancelled, OperationNotFound, OutcomeTimeout
from ratesync.model.operation import OperationState
from ratesync.model.outcome import Outcome
from ratesync.model.status import OperationStatus
from ratesync.model.work import CancelResult, Enqueued
from ratesync.protocols import QueueBackend
from ratesync.rules.lifecycle import FINAL


class Answer:
    """Where the encoded outcome of one operation is put for all tickets that stand for it."""

    __slots__ = ("__weakref__", "result")

    def __init__(self) -> None:
        self.result: bytes | None = None


class Ticket:
    """Stands for one submitted operation. Cheap; may be dropped without harm to the operation."""

    __slots__ = ("_answer", "_desk", "duplicate", "id")

    def __init__(self, desk: TicketDesk, operation_id: str, answer: Answer, *, duplicate: bool) -> None:
        self._desk = desk
        self._answer = answer
        self.id = operation_id
        """The operation's id."""
        self.duplicate = duplicate
        """The operation was already known when it was submitted; this ticket stands for the earlier one."""

    def __repr__(self) -> str:
        return f"Ticket({self.id!r})"

    async def outcome(self, timeout: float | None = None) -> Outcome:
        """Wait for the final outcome, at most ``timeout`` seconds (None: as long as it takes).

        Of a dead letter it is the last outcome: look at its type.

        :raises OutcomeTimeout: the outcome did not come in time; the operation goes on.
        :raises OperationCancelled: the operation was cancelled.
        :raises OperationNotFound: it was discarded, or finished longer ago than results are kept.
        """
        return await self._desk.outcome(self.id, self._answer, timeout)

    async def status(self) -> OperationStatus:
        """Where the operation stands.

        :raises OperationNotFound: it was discarded, or finished longer ago than results are kept.
        """
        return await self._desk.status(self.id)

    async def cancel(self) -> CancelResult:
        """Take the operation back if it is not being carried out yet; the answer says what came of it."""
        return await self._desk.cancel(self.id)


class TicketDesk:
    """Gives out tickets and finds their outcomes.

    Tickets that the host still holds are told their outcome directly, so it is not lost to the queue's retention.
    """

    def __init__(self, queue: QueueBackend, clock: Clock, *, works: bool = True) -> None:
        self._queue = queue
        self._works = works
        """Whether outcomes come by here."""
        self._clock = clock
        self._held: WeakValueDictionary[str, Answer] = WeakValueDictionary()
        self._process: int | None = None

    def open(self) -> None:
        """Note the process in which tickets are issued."""
        self._process = os.getpid()

    def check_process(self) -> None:
        """Make sure that this is still that process.

        :raises ForkedProcess: it was forked off; here, the queue is a copy that nobody works on.
        """
        if self._process not in {None, os.getpid()}:
            raise ForkedProcess("this process was forked from the one that started the engine: start a new engine here")

    def issue(self, received: Enqueued) -> Ticket:
        """The ticket of an enqueued operation."""
        answer = self._held.get(received.id) if received.duplicate else None
        if answer is None:
            answer = Answer()
            if self._works:
                self._held[received.id] = answer
        return Ticket(self, received.id, answer, duplicate=received.duplicate)

    def resolve(self, operation_id: str, result: bytes) -> None:
        """Give the encoded outcome of an operation to its tickets, if anybody still holds one."""
        answer = self._held.get(operation_id)
        if answer is not None:
            answer.result = result

    async def outcome(self, operation_id: str, answer: Answer, timeout: float | None) -> Outcome:
        """See :meth:`Ticket.outcome`."""
        self.check_process()
        until = None if timeout is None else self._clock.now() + timeout
        entry = await self._queue.finished(operation_id, until)
        if entry is not None and entry.state is OperationState.CANCELLED:
            raise OperationCancelled(f"operation {operation_id} was cancelled")
        if entry is not None and entry.state not in FINAL:
            raise OutcomeTimeout(f"operation {operation_id} is still {entry.state} after {timeout} s; it goes on")
        result = answer.result if entry is None else entry.result
        if result is None:
            raise OperationNotFound(f"operation {operation_id} is not known: discarded, or finished too long ago")
        return decode_outcome(result)

    async def status(self, operation_id: str) -> OperationStatus:
        """See :meth:`Ticket.status`."""
        self.check_process()
        entry = (await self._queue.get([operation_id]))[0]
        if entry is None:
            raise OperationNotFound(f"operation {operation_id} is not known: discarded, or finished too long ago")
        return OperationStatus(
            id=entry.id,
            lane=entry.lane,
            state=entry.state,
            attempts=entry.attempts,
            enqueued_at=entry.enqueued_at,
            due_at=entry.due_at,
            finished_at=entry.finished_at,
            outcome=decode_outcome(entry.result) if entry.result else None,
        )

    async def cancel(self, operation_id: str) -> CancelResult:
        """See :meth:`Ticket.cancel`."""
        self.check_process()
        return (await self._queue.cancel([operation_id]))[0]
