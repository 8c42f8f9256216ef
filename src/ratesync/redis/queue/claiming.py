"""One worker's claims, one after the other: what was leased by a claim whose answer was lost is given back by the next.

A lease lasts as long as its worker gives signs of life, so nobody else would ever get what never reached the worker.
"""

from __future__ import annotations

from itertools import count
from math import inf

import anyio
from attrs import define, field

from ratesync.model.work import Claim, ClaimRequest, Lease
from ratesync.redis.queue.limits import QueueLimits
from ratesync.redis.queue.packing import leases
from ratesync.redis.queue.shard import Shard
from ratesync.redis.server.lua import Argument

FAREWELL = 1.0
"""Seconds at most to give back what a claim took that was cancelled."""


@define(eq=False)
class Claimant:
    """A worker, as one queue of this process knows it."""

    name: str
    """Tells this process from others that use the same name of a worker."""
    limits: QueueLimits
    turn: anyio.Lock = field(factory=anyio.Lock, init=False)
    _numbers: count[int] = field(factory=lambda: count(1), init=False)
    _received: dict[int, int] = field(factory=dict[int, int], init=False)

    async def claim(self, shards: list[Shard], request: ClaimRequest) -> tuple[Claim, list[int]]:
        """Claim from the shards in this order; markers of all of them."""
        async with self.turn:
            batches: list[tuple[Lease, ...]] = []
            instants: list[float] = []
            bells: list[int] = []
            for shard in shards:
                left = request.calls - len(batches)
                found, next_at, bell = await self._claim(shard, request, left)
                batches += found
                instants.append(next_at)
                bells.append(bell)
            next_at = min(instants, default=inf)
            return Claim(tuple(batches), None if next_at == inf else next_at, 0), bells

    async def _claim(
        self, shard: Shard, request: ClaimRequest, calls: int
    ) -> tuple[list[tuple[Lease, ...]], float, int]:
        number = next(self._numbers)
        limits = self.limits
        args: list[Argument] = [request.worker, calls, limits.lease_seconds, limits.mailbox_max, limits.claim_bytes]
        args += [limits.result_capacity, shard.expected(), self.name, number, self._received.get(shard.number, 0)]
        for provider, size in request.sizes.items():
            args += [provider, size, request.lane_max.get(provider, "")]
        sent_at = shard.clock.now()
        try:
            bell, next_at, told, *batches = await shard.run("claim", *args)
        except anyio.get_cancelled_exc_class():
            if calls:
                with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL):
                    await self._claim(shard, request, 0)
            raise
        if not shard.clock.is_virtual:
            shard.time.see(sent_at, shard.clock.now(), float(told))
        self._received[shard.number] = number
        instant = shard.own_instant(float(next_at)) if next_at else inf
        return [leases(batch) for batch in batches], instant, int(float(bell))
