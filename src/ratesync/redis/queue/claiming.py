"""One worker's claims, one after the other: what was leased by a claim whose answer was lost is given back by the next.

A lease lasts as long as its worker gives signs of life, so nobody else would ever get what never reached the worker.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from math import inf
from typing import NamedTuple

import anyio
from attrs import define, field

from ratesync.errors import QueueError
from ratesync.model.work import Claim, ClaimRequest, Lease
from ratesync.redis.queue.limits import QueueLimits
from ratesync.redis.queue.packing import leases
from ratesync.redis.queue.shard import Shard, at_each
from ratesync.redis.server.lua import Argument

FAREWELL = 1.0
"""Seconds at most to give back what a claim took that was cancelled."""


class Heard(NamedTuple):
    """What a shard answered, but for the leases."""

    claim: int
    """The number of the claim."""
    next_at: float
    bell: int


@define(eq=False)
class Claimant:
    """A worker, as one queue of this process knows it."""

    name: str
    """Tells this process from others that use the same name of a worker."""
    limits: QueueLimits
    turn: anyio.Lock = field(factory=anyio.Lock, init=False)
    _numbers: count[int] = field(factory=lambda: count(1), init=False)
    _received: dict[int, int] = field(factory=dict[int, int], init=False)
    """By shard, the latest claim whose leases the worker has."""

    async def claim(self, shards: list[Shard], request: ClaimRequest) -> tuple[Claim, dict[int, int]]:
        """Claim from the shards in this order; by their numbers, the bells of those that answered.

        Where one does not answer, what others leased is returned, to be followed by another claim at once.

        :raises QueueError: one did not answer, and the others had nothing.
        """
        async with self.turn:
            batches: list[tuple[Lease, ...]] = []
            heard: dict[int, Heard] = {}
            error: QueueError | None = None
            try:
                for shard in shards:
                    try:
                        found, heard[shard.number] = await self._ask(shard, request, request.calls - len(batches))
                    except QueueError as problem:
                        error = error or problem
                        if batches:
                            break  # leases are not to grow old here
                    else:
                        batches += found
            except anyio.get_cancelled_exc_class():
                await self._give_back(shards, request)
                raise
            if error is not None and not batches:
                raise error
            self._received |= {number: answer.claim for number, answer in heard.items()}
            next_at = min(answer.next_at for answer in heard.values()) if error is None else shards[0].clock.now()
            claim = Claim(tuple(batches), None if next_at == inf else next_at, 0)
            return claim, {number: answer.bell for number, answer in heard.items()}

    async def _give_back(self, shards: list[Shard], request: ClaimRequest) -> None:
        """Claim nothing, by which all goes back whose answers never reached the worker."""
        if not request.calls:
            return

        async def ask(shard: Shard) -> None:
            await self._ask(shard, request, 0)

        with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL), suppress(QueueError):
            await at_each(shards, ask)

    async def _ask(self, shard: Shard, request: ClaimRequest, calls: int) -> tuple[list[tuple[Lease, ...]], Heard]:
        number = next(self._numbers)
        limits = self.limits
        args: list[Argument] = [request.worker, calls, limits.lease_seconds, limits.mailbox_max, limits.claim_bytes]
        args += [limits.result_capacity, shard.expected(), self.name, number, self._received.get(shard.number, 0)]
        for provider, size in request.sizes.items():
            args += [provider, size, request.lane_max.get(provider, "")]
        sent_at = shard.clock.now()
        bell, next_at, told, *batches = await shard.run("claim", *args)
        if not shard.clock.is_virtual:
            shard.time.see(sent_at, shard.clock.now(), float(told))
        instant = shard.own_instant(float(next_at)) if next_at else inf
        return [leases(batch) for batch in batches], Heard(number, instant, int(float(bell)))
