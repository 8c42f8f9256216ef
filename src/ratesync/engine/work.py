"""From leases to work: reading mailboxes, folding them, and sorting them into calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from attrs import field, frozen

from ratesync.codec import decode_operation
from ratesync.engine.doubts import Doubts
from ratesync.errors import CorruptItem, NewerFormat
from ratesync.model.batch import Capabilities
from ratesync.model.operation import Operation
from ratesync.model.outcome import Outcome, Rejected, Unknown
from ratesync.model.policy import RetryPolicy
from ratesync.model.work import Lease, LeasedItem
from ratesync.rules.batching import group
from ratesync.rules.coalescing import Pending, fold_head
from ratesync.rules.verdict import Repeat, decide_claimed, decide_repeat, rest_before_repeat

_NEWER_FORMAT_DELAY = 30.0
"""Seconds before a mailbox written by a newer version is offered again: a newer worker may take it meanwhile."""
_IN_DOUBT = (
    "an earlier attempt may have been applied, and this provider offers no way to tell: "
    "look at the record there, then replay or discard"
)


class Action(StrEnum):
    """What is to be done with the head of a mailbox."""

    SEND = "send"
    LOOKUP = "lookup"
    """Find out first whether an earlier attempt was applied."""
    FINISH = "finish"
    """Nothing need be sent: the outcome is known."""
    LEAVE = "leave"
    """Give it back, for a newer worker or for later."""


class Task(NamedTuple):
    """The head of one leased mailbox: the operation to send, and the items it stands for."""

    lease: Lease
    items: tuple[LeasedItem, ...]
    action: Action
    operation: Operation | None = None
    outcome: Outcome | None = None
    """For FINISH: what the items came to; None if they cancelled each other out."""
    leave_for: float = 0.0
    """For LEAVE: seconds before it is offered again."""
    is_suspect: bool = False
    """For SEND: whether a worker lost its lease while it held this. It may be what brought the worker down."""

    @property
    def is_shareable(self) -> bool:
        """Whether others may share its call."""
        return self.action is Action.SEND and not self.is_suspect


@frozen
class Planner:
    """Decides what leases ask for. Does nothing itself."""

    capabilities: Mapping[str, Capabilities]
    retry: RetryPolicy
    doubts: Doubts = field(factory=Doubts)

    def plan(self, leases: Sequence[Lease], now: float) -> list[list[Task]]:
        """Sort the leases of one lane into groups, each of which is one call (or needs none)."""
        capabilities = self.capabilities[leases[0].lane.provider]
        tasks = [self._task(lease, capabilities, now) for lease in leases]
        if len(tasks) == 1:
            return [tasks]
        sends = [task for task in tasks if task.action is Action.SEND]
        sendable = [task for task in sends if not task.is_suspect]
        grouped = group(sendable, label, lambda task: most_in_call(capabilities, task.operation))
        # A suspect travels alone: should it strike again, it takes nobody with it.
        alone = [[task] for task in sends if task.is_suspect]
        lookups = [[task] for task in tasks if task.action is Action.LOOKUP]
        rest = [task for task in tasks if task.action in {Action.FINISH, Action.LEAVE}]
        return grouped + alone + lookups + ([rest] if rest else [])

    def _task(self, lease: Lease, capabilities: Capabilities, now: float) -> Task:
        pending = self._readable(lease, now)
        if isinstance(pending, Task):
            return pending
        step = fold_head(pending)
        items = lease.items if step.count == len(lease.items) else lease.items[: step.count]
        operation = step.operation
        if operation is None:
            return Task(lease, items, Action.FINISH)
        if items[0].sent_as and (repeat := decide_repeat(operation, capabilities)) is not Repeat.SEND:
            return self._doubtful(lease, items, operation, repeat, self._rest(items, operation, capabilities, now))
        return Task(lease, items, Action.SEND, operation, is_suspect=any(item.lapses for item in items))

    def _readable(self, lease: Lease, now: float) -> list[Pending] | Task:
        """The operations of a mailbox up to the first that cannot be tried; a task if that is the very first."""
        pending: list[Pending] = []
        for item in lease.items:
            try:
                operation, dead = self._read(item, lease, now)
            except NewerFormat:
                return pending or Task(lease, lease.items, Action.LEAVE, leave_for=_NEWER_FORMAT_DELAY)
            if operation is not None and dead is None:
                pending.append(Pending(operation, item.sent_as))
            elif pending:
                break
            else:
                return Task(lease, (item,), Action.FINISH, outcome=dead)
        return pending

    def _read(self, item: LeasedItem, lease: Lease, now: float) -> tuple[Operation | None, Outcome | None]:
        try:
            operation = decode_operation(item.body, lease.lane, item.id)
        except CorruptItem as error:
            return None, Rejected(str(error), code="corrupt")
        if operation.deadline is None and not item.lapses:  # the common case needs no decision
            return operation, None
        deadline = None if operation.deadline is None else operation.deadline.timestamp()
        return operation, decide_claimed(now, deadline, item.lapses, self.retry, sent_before=item.sent_as != 0)

    def _rest(
        self, items: tuple[LeasedItem, ...], operation: Operation, capabilities: Capabilities, now: float
    ) -> float:
        """Seconds until something may be done about an attempt that died with its worker, nobody knows when."""
        rest = rest_before_repeat(operation, capabilities)
        return self.doubts.left(items[0].id, rest, now) if rest and items[0].lapses else 0.0

    def _doubtful(
        self, lease: Lease, items: tuple[LeasedItem, ...], operation: Operation, repeat: Repeat, rest: float
    ) -> Task:
        if rest:
            return Task(lease, items, Action.LEAVE, leave_for=rest)
        if repeat is Repeat.LOOKUP:
            return Task(lease, items, Action.LOOKUP, operation)
        return Task(lease, items, Action.FINISH, outcome=Unknown(_IN_DOUBT))


def label(task: Task) -> tuple[str, str]:
    """What operations of one call have in common, besides their lane."""
    operation = task.operation
    return ("", "") if operation is None else (operation.resource, operation.kind)


def most_in_call(capabilities: Capabilities, operation: Operation | None) -> int:
    """Most operations that one call may carry with this one."""
    return 1 if operation is None else capabilities.most(operation.kind)
