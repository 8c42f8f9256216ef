"""What goes between the engine and a queue: items, leases and their settlement.

Where one is made for each operation, it is a named tuple: that takes less than half the time of a frozen class.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from attrs import field, frozen

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState


class Durability(StrEnum):
    """What an accepted operation survives."""

    PROCESS = "process"
    """Lives with the process: a crash loses it."""
    FSYNC_1S = "fsync-1s"
    """On disk within a second."""
    FSYNC = "fsync"
    """On disk before it is accepted."""
    REPLICATED = "replicated"
    """On other machines before it is accepted."""


class Item(NamedTuple):
    """An operation as a queue holds it. The queue never reads ``body``."""

    id: str
    lane: Lane
    key: str
    """Items of one lane and key are claimed in order, one holder at a time."""
    body: bytes
    priority: int = 0
    not_before: float | None = None
    dedupe: str | None = None
    """Idempotency key given by the caller: unique in the lane while the first item is known to the queue."""


class Enqueued(NamedTuple):
    """How an item was received."""

    id: str
    """The id under which the operation is known: of an earlier one if this is a duplicate."""
    duplicate: bool


class LeasedItem(NamedTuple):
    """One item of a claimed mailbox."""

    id: str
    body: bytes
    attempts: int
    """Attempts counted before this claim."""
    sent_as: int
    """0 if it surely never reached the provider; else the token of the lease under which it may have. Items with the
    same token were sent together and must be repeated together."""
    lapses: int
    """How often a worker lost its lease while it held this item (it crashed, or hung)."""
    enqueued_at: float


class Lease(NamedTuple):
    """A claimed mailbox: the pending items of one key, in order, at most as many as the claim allowed."""

    lane: Lane
    key: str
    token: int
    """Fencing token: a settlement with any but the newest token of this mailbox is refused."""
    items: tuple[LeasedItem, ...]


@frozen
class ClaimRequest:
    """What a worker would like to have."""

    worker: str
    calls: int
    """At most this many batches, each of one lane."""
    sizes: Mapping[str, int]
    """Most mailboxes in a batch, for each provider that the worker can serve. Others' lanes are left alone."""
    lane_max: Mapping[str, int] = field(factory=dict[str, int])
    """Most mailboxes of one lane leased at the same time, by all workers together, for each provider; no bound for
    providers not named. A lane at its bound is not claimed from until one is settled."""


@frozen
class Claim:
    """What a worker got: batches of leases, each batch of one lane."""

    batches: tuple[tuple[Lease, ...], ...]
    next_at: float | None
    """Instant at which there is more to claim: not after now if there is at once, else when something becomes due by
    itself; None if only new work or a settlement can change anything."""
    marker: int
    """Give it to ``wait``: a change since this claim is then not missed."""


class Finished(NamedTuple):
    """An item that leaves its mailbox for good."""

    id: str
    state: OperationState
    """completed, dead or cancelled."""
    result: bytes
    """The encoded outcome."""


class Settlement(NamedTuple):
    """What became of a lease. Items neither finished nor attempted go back as they were, at the front."""

    lease: Lease
    finished: tuple[Finished, ...] = ()
    attempted: tuple[str, ...] = ()
    """Ids that stay queued after an attempt under this lease."""
    counted: bool = True
    """Whether the attempt counts for those ids."""
    sent: bool = True
    """Whether the attempt may have reached the provider, so that those ids are marked ``sent_as`` this lease."""
    unsent: tuple[str, ...] = ()
    """Ids that stay queued and turned out never to have been applied: ``sent_as`` is 0 again."""
    resume_at: float | None = None
    """The mailbox is not claimed again before this instant."""


class CancelResult(StrEnum):
    """What a wish to cancel came to."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    """A worker holds it: cancelled if it comes back, else it ends as it ends."""
    FINISHED = "finished"
    """Too late: completed, dead or cancelled before."""
    UNKNOWN = "unknown"
    """No such operation."""


@frozen
class Entry:
    """An operation as a queue knows it."""

    id: str
    lane: Lane
    key: str
    state: OperationState
    attempts: int
    enqueued_at: float
    due_at: float | None
    """Instant of the next attempt for a scheduled or retryable one."""
    finished_at: float | None
    body: bytes | None
    """None once it is completed or cancelled."""
    result: bytes | None


@frozen
class QueueStats:
    """How many operations are in which state; scheduled ones wait for their instant, finished ones are not counted."""

    scheduled: int = 0
    available: int = 0
    leased: int = 0
    retryable: int = 0
    dead: int = 0

    @property
    def pending(self) -> int:
        """Operations that are accepted and not finished."""
        return self.scheduled + self.available + self.leased + self.retryable
