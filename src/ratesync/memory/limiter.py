"""The exact limiter, for one process."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import PermitTimeout
from ratesync.memory.bucket import Bucket, Claim, Waiter, merged
from ratesync.memory.grants import Grants
from ratesync.model.quota import Demand, Observation, Permit, QuotaUse, Refusal


class MemoryLimiter:
    """Grants permits exactly, to the callers of one process on one event loop. Runs on asyncio and on trio.

    What is used lives with the process: one that is started anew does not know what the last one used. Engines of one
    event loop may share a limiter. A permit that is free is granted without letting other tasks run. Nothing polls:
    who waits sleeps until the instant at which its permits come free, or until another call gives them back. Scopes
    in which nothing is used any more are dropped as others are used.

    How windows are counted is told in :mod:`ratesync.rules.window`. A cost below 1 raises ValueError.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._grants = Grants()

    async def open(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to let go of. What is used stays counted, as the provider counts it too."""

    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        """Grant now or say how long to wait; see :meth:`ratesync.protocols.Limiter.reserve`.

        With others waiting, the answer says when all of them could be served, as far as that is known.
        """
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        return self._grant_in_turn(demands, claims, now) or self._refusal(demands, claims, now)

    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        """Wait for a permit; see :meth:`ratesync.protocols.Limiter.acquire`."""
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        if deadline is not None and deadline < now:
            raise self._too_late(claims, now)
        permit = self._grant_in_turn(demands, claims, now)
        if permit is not None:
            return permit
        return await self._wait(Waiter(demands, merged(claims, demands), math.inf if deadline is None else deadline))

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; see :meth:`ratesync.protocols.Limiter.done`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        now = self._clock.now()
        claims = self._grants.settle(permit, observation, now)
        if observation.throttled:
            rouse_hurried(claims)
        self._serve(claims, now)

    def refund(self, permit: Permit) -> None:
        """The call was not made; see :meth:`ratesync.protocols.Limiter.refund`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._serve(self._grants.refund(permit), self._clock.now())

    async def usage(self, demands: Sequence[Demand]) -> Sequence[QuotaUse]:
        """How much of each demand's quota is used now."""
        now = self._clock.now()
        return [self._grants.use(demand, now) for demand in demands]

    def _grant_in_turn(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Permit | None:
        """A permit, if all is free and nobody waits for any of it."""
        for bucket, _ in claims:
            if bucket.waiters:
                self._serve(claims, now)  # their timer may be late
                if any(claimed.waiters for claimed, _ in claims):
                    return None
                break
        return self._grants.grant(demands, claims, now)

    def _refusal(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Refusal:
        costs = dict(merged(claims, demands))
        turns = [self._turn_at(bucket, costs[bucket], now) for bucket, _ in claims]
        last = max(turns)
        return Refusal(demands[turns.index(last)], None if last == math.inf else last - now)

    def _turn_at(self, bucket: Bucket, cost: int, now: float) -> float:
        """When the permits can be had, after those who wait; infinity where that depends on a call under way."""
        if not bucket.waiters:
            return self._grants.bucket_free_at(bucket, cost, now)
        free_at = self._grants.bucket_free_at(bucket, min(bucket.quota.permits, bucket.wanted + cost), now)
        turn_at = max(free_at, self._grants.free_at(bucket.head.claims, now))
        return turn_at if turn_at > now else math.inf  # free, but the first in line waits behind somebody elsewhere

    async def _wait(self, waiter: Waiter) -> Permit:
        waiter.line_up()
        try:
            while (permit := waiter.permit) is None:
                await self._sleep(waiter)
        except BaseException:
            if waiter.permit is None:
                waiter.leave()
                self._serve(waiter.claims, self._clock.now())
            else:
                self.refund(waiter.permit)
            raise
        return permit

    async def _sleep(self, waiter: Waiter) -> None:
        """Sleep until there is a permit or the waiter may be able to take it.

        :raises PermitTimeout: there will be none before the deadline.
        """
        now = self._clock.now()
        if now >= waiter.deadline or self._grants.earliest_at(waiter.claims, now) > waiter.deadline:
            raise self._too_late(waiter.claims, now)
        waiter.looks_at = self._grants.free_at(waiter.claims, now) if waiter.is_next else math.inf
        waiter.alarm = anyio.Event()
        until = min(waiter.looks_at, waiter.deadline)
        with timeout_at(self._clock, None if until == math.inf else until):
            await waiter.alarm.wait()
        waiter.looks_at = math.inf
        if waiter.permit is None:
            self._serve(waiter.claims, self._clock.now())

    def _too_late(self, claims: Sequence[Claim], now: float) -> PermitTimeout:
        free_at = self._grants.free_at(claims, now)
        wait = None if free_at == math.inf else free_at - now
        known = "that depends on calls under way" if wait is None else f"they are free in {wait:.3f} s at the earliest"
        scopes = ", ".join(str(bucket.scope) for bucket, _ in claims)
        return PermitTimeout(f"{scopes}: no permits before the deadline; {known}.", retry_after=wait)

    def _serve(self, claims: Sequence[Claim], now: float) -> None:
        """Grant to those next in line for these buckets while permits are free; let the others set their timers."""
        changed = [bucket for bucket, _ in claims if bucket.waiters]
        while changed:
            bucket = changed.pop()
            while bucket.waiters and (waiter := bucket.head).is_next:
                waiter.permit = self._grants.grant(waiter.demands, waiter.claims, now)
                if waiter.permit is None:
                    if self._grants.free_at(waiter.claims, now) < waiter.looks_at:
                        waiter.alarm.set()
                    break
                waiter.leave()
                waiter.alarm.set()
                changed += [other for other, _ in waiter.claims if other.waiters]


def rouse_hurried(claims: Sequence[Claim]) -> None:
    """Let those with a deadline look whether it can still be met."""
    for bucket, _ in claims:
        for waiter in bucket.waiters:
            if waiter.deadline < math.inf:
                waiter.alarm.set()
