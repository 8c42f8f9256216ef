"""The contract of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class QueueBackend(Protocol):
    """Keeps operations in order until they are settled, and hands them out one holder at a time.

    Promises, over any number of workers:

    * An item whose ``enqueue`` returned stays until it is finished or discarded (within the named durability).
    * Items of one lane and key form a mailbox. A mailbox has one holder at a time and its items come in order.
    * A settlement counts only while its lease is the mailbox's newest; late ones are refused and change nothing.
    * A worker that gives no sign of life for the lease time loses its leases. The items come back at the front of
      their lane with one more lapse, and those never sent are marked ``sent_as`` that lease, since nobody knows how
      far the worker had got.
    * Lanes are served fairly by weight: the one that has had least for its weight comes first. Within a lane the
      order is that of :func:`ratesync.rules.priority.score`. Empty, parked and paused lanes cost nothing.
    * A scheduled item enters its mailbox at its instant, behind what is there by then.
    * Every method may be cancelled at any await; it has then either done all of its work or none of it. Each awaits
      at least once.
    * Batches are the unit: the cost of a call grows with the items in it, not with what is queued.

    Errors: :class:`~ratesync.errors.QueueFull`, :class:`~ratesync.errors.EnqueueUncertain` where named; any other
    failure of the backend is a :class:`~ratesync.errors.QueueError` and may be tried again.
    """

    @property
    def durability(self) -> Durability:
        """What an accepted item survives."""
        ...

    @property
    def lease_seconds(self) -> float:
        """How long a worker may give no sign of life before it loses its leases."""
        ...

    async def open(self) -> None:
        """Get ready for use. Called once by each engine that uses the backend; may be called again after close."""
        ...

    async def close(self) -> None:
        """Let go of connections and tasks; queued items stay. Called once for each ``open``."""
        ...

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        """Accept all items or none, one answer for each in order.

        An item whose id is known (pending, or finished and still remembered), or whose ``dedupe`` is known in its lane,
        is a duplicate: nothing is added and the answer names the earlier id. Without room for the new items, waits
        until ``wait_until`` (an instant; None: not at all), first come first served.

        :raises QueueFull: there is no room; nothing was enqueued.
        :raises DeadLettersFull: there are too many dead letters, some of them in a lane of these items; nothing was
            enqueued.
        :raises EnqueueUncertain: the backend did not answer.
        """
        ...

    async def claim(self, request: ClaimRequest) -> Claim:
        """Lease what is due, by fair choice among lanes; never waits for work. Counts as a sign of life."""
        ...

    async def wait(self, marker: int, until: float | None) -> None:
        """Return when something may have become claimable since the claim with this ``marker``, or at ``until``.

        May return early for no reason. Never polls.
        """
        ...

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle leases; False for each that was refused because it is no longer the mailbox's newest.

        An item with a wish to cancel that would stay queued is cancelled instead.
        """
        ...

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        """Give a sign of life: all leases of the worker last ``lease_seconds`` from now. Lost ones stay lost.

        One answer for each of ``leases`` in order: whether the worker holds it, so that ``settle`` would accept it. By
        this a worker that stood still learns which of its calls are in vain. The engine names only those that it has
        held for a third of the lease time, so mostly none; no younger one can be lost.
        """
        ...

    def keep_alive(self, worker: str) -> None:
        """A sign of life, callable from any thread while the event loop is blocked; must not touch the loop."""
        ...

    async def park(self, lane: Lane, until: float) -> None:
        """Leave the lane alone until the instant ``until``; an instant in the past reopens it."""
        ...

    async def pause(self, selector: Selector) -> None:
        """Leave the selected lanes alone, also those to come, until they are resumed. Leases held go on."""
        ...

    async def resume(self, selector: Selector) -> None:
        """Undo every pause whose lanes are all selected: ``Selector()`` undoes all. Parked lanes stay parked."""
        ...

    async def paused(self) -> Sequence[Selector]:
        """The pauses in force."""
        ...

    async def set_weight(self, lane: Lane, weight: float) -> None:
        """Give the lane ``weight`` (> 0) times the share of a lane of weight 1, the default."""
        ...

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        """Take operations back; one answer for each id in order."""
        ...

    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        """Look operations up; None for each that is not known (any more)."""
        ...

    async def finished(self, operation_id: str, until: float | None) -> Entry | None:
        """Wait until the operation is completed, dead or cancelled; its entry then.

        At ``until`` (an instant; None: never) the entry as it is. None if the id is not known.
        """
        ...

    async def drained(self, selector: Selector, until: float | None) -> bool:
        """Wait until the selected lanes have nothing pending, scheduled operations included; False at ``until``."""
        ...

    async def dead_letters(self, selector: Selector, *, after: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """Dead letters in the order in which they died, at most ``limit``, from behind the id ``after``."""
        ...

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        """Put dead letters back at the end of their mailboxes; False where there is none.

        Attempts, lapses and ``sent_as`` start from 0: whoever replays has looked and wants it sent.
        """
        ...

    async def discard(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget dead letters; False where there is none."""
        ...

    async def stats(self, selector: Selector) -> QueueStats:
        """Count the selected lanes' operations by state."""
        ...
