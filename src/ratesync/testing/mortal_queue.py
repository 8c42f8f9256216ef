"""A queue seen through a process that can die or stand still."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from ratesync.clock import Clock, sleep_until
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
from ratesync.protocols import QueueBackend


@define
class MortalQueue:
    """Passes everything on to ``queue``, for one engine, until that engine's process dies or is frozen.

    After :meth:`kill` nothing of the engine reaches the queue any more: cancel the engine, as its process is gone.
    After :meth:`freeze` everything it asks for waits, as for a process that was stopped and goes on later.
    """

    queue: QueueBackend
    clock: Clock
    dead: bool = False
    frozen_until: float = 0.0
    refused: int = 0
    """Settlements that came too late and were refused."""

    def kill(self) -> None:
        """The process is gone."""
        self.dead = True

    def freeze(self, until: float) -> None:
        """The process stands still until an instant."""
        self.frozen_until = until

    async def _thaw(self) -> None:
        if self.clock.now() < self.frozen_until:
            await sleep_until(self.clock, self.frozen_until)

    @property
    def durability(self) -> Durability:
        """As the queue's."""
        return self.queue.durability

    @property
    def lease_seconds(self) -> float:
        """As the queue's."""
        return self.queue.lease_seconds

    async def open(self) -> None:
        """Open the queue."""
        await self.queue.open()

    async def close(self) -> None:
        """Close the queue."""
        await self.queue.close()

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        """Pass on."""
        return await self.queue.enqueue(items, wait_until=wait_until)

    async def claim(self, request: ClaimRequest) -> Claim:
        """Pass on, if alive."""
        await self._thaw()
        if self.dead:
            return Claim((), None, 0)
        return await self.queue.claim(request)

    async def wait(self, marker: int, until: float | None) -> None:
        """Pass on."""
        await self.queue.wait(marker, until)

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Pass on, if alive."""
        await self._thaw()
        if self.dead:
            return [False] * len(settlements)
        accepted = await self.queue.settle(worker, settlements)
        self.refused += list(accepted).count(False)
        return accepted

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        """Pass on, if alive."""
        await self._thaw()
        return [False] * len(leases) if self.dead else await self.queue.extend(worker, leases)

    def keep_alive(self, worker: str) -> None:
        """Pass on, if alive."""
        if not self.dead and self.clock.now() >= self.frozen_until:
            self.queue.keep_alive(worker)

    async def park(self, lane: Lane, until: float) -> None:
        """Pass on, if alive."""
        if not self.dead:
            await self.queue.park(lane, until)

    async def pause(self, selector: Selector) -> None:
        """Pass on, if alive."""
        if not self.dead:
            await self.queue.pause(selector)

    async def resume(self, selector: Selector) -> None:
        """Pass on."""
        await self.queue.resume(selector)

    async def paused(self) -> Sequence[Selector]:
        """Pass on."""
        return await self.queue.paused()

    async def set_weight(self, lane: Lane, weight: float) -> None:
        """Pass on."""
        await self.queue.set_weight(lane, weight)

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        """Pass on."""
        return await self.queue.cancel(ids)

    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        """Pass on."""
        return await self.queue.get(ids)

    async def finished(self, operation_id: str, until: float | None) -> Entry | None:
        """Pass on."""
        return await self.queue.finished(operation_id, until)

    async def drained(self, selector: Selector, until: float | None) -> bool:
        """Pass on."""
        return await self.queue.drained(selector, until)

    async def dead_letters(self, selector: Selector, *, after: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """Pass on."""
        return await self.queue.dead_letters(selector, after=after, limit=limit)

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        """Pass on."""
        return await self.queue.replay(ids)

    async def discard(self, ids: Sequence[str]) -> Sequence[bool]:
        """Pass on."""
        return await self.queue.discard(ids)

    async def stats(self, selector: Selector) -> QueueStats:
        """Pass on."""
        return await self.queue.stats(selector)
