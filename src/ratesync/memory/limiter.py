"""The exact limiter, for one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import anyio

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import PermitTimeout
from ratesync.memory.bucket import Bucket, Claim, Waiter, place_in_line
from ratesync.memory.bucket_table import merged, refused_cost
from ratesync.memory.grants import Grants
from ratesync.model.quota import Demand, Observation, Permit, QuotaState, Refusal


class MemoryLimiter:
    """Grants permits exactly, to the callers of one process on one event loop. Runs on asyncio and on trio.

    What is used lives with the process: one that is started anew does not know what the last one used. So in the first
    window of each rate since the limiter's first use (at most a minute) calls go one at a time, until an answer tells
    how much is left: one of them may be refused, and then nothing is sent until the window has passed. Where nobody
    used the quotas before, say so with ``cold_start=False``. A :class:`~ratesync.Budget` counts from the start of the
    process, and is corrected by what the provider tells.

    Engines of one event loop may share a limiter. A permit that is free is granted without letting other tasks run.
    Nothing polls: who waits sleeps until the instant at which its permits come free, or until another call gives them
    back. Scopes in which nothing is used any more are dropped as others are used.

    How quotas are counted is told in :mod:`ratesync.rules.window` and its neighbours. A cost below 1 raises ValueError.

    :param cold_start: somebody may have used the quotas shortly before. Default True.
    """

    def __init__(self, *, clock: Clock | None = None, cold_start: bool = True) -> None:
        self._clock = clock or SystemClock()
        self._grants = Grants(None if cold_start else -math.inf)
        self._arrivals = count()

    async def open(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to let go of. What is used stays counted, as the provider counts it too."""

    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        """Grant now or say how long to wait; see :meth:`ratesync.protocols.Limiter.reserve`.

        With others waiting, the answer says when all of them could be served, as far as that is known.
        """
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        permit = self._grant_in_turn(demands, claims, priority, now)
        return permit or self._refusal(demands, claims, priority, now)

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        """Wait for a permit; see :meth:`ratesync.protocols.Limiter.acquire`."""
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        if deadline is not None and deadline < now:
            raise self._too_late(claims, priority, now)
        permit = self._grant_in_turn(demands, claims, priority, now)
        if permit is not None:
            return permit
        place = place_in_line(now, priority, next(self._arrivals))
        own = merged(claims, demands, priority)
        return await self._wait(Waiter(demands, own, math.inf if deadline is None else deadline, priority, place))

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; see :meth:`ratesync.protocols.Limiter.done`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        now = self._clock.now()
        claims, is_changed = self._grants.settle(permit, observation, now)
        if is_changed:
            rouse(claims)
        self._serve(claims, now)

    def refund(self, permit: Permit) -> None:
        """The call was not made; see :meth:`ratesync.protocols.Limiter.refund`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._serve(self._grants.refund(permit), self._clock.now())

    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        """How each demand's quota stands now."""
        now = self._clock.now()
        return [self._grants.state(demand, now) for demand in demands]

    def _grant_in_turn(
        self, demands: Sequence[Demand], claims: Sequence[Claim], priority: int, now: float
    ) -> Permit | None:
        """A permit, if all is free and nobody who waits for any of it comes first."""
        for bucket, _ in claims:
            if bucket.line.wanted:
                self._serve(claims, now)  # their timer may be late
                permit = self._may_pass(claims, priority, now) and self._grants.grant(demands, claims, priority, now)
                if not permit:
                    return None
                self._serve(claims, now)  # who comes first may lack no more than what is kept from it now
                return permit
        return self._grants.grant(demands, claims, priority, now)

    def _may_pass(self, claims: Sequence[Claim], priority: int, now: float) -> bool:
        """Whether all who wait for any of it wait for permits that are kept from them, and not from this one."""
        return all(
            priority > 0 and head.priority <= 0 and self._grants.is_reserved(head.claims, now)
            for bucket, _ in claims
            if bucket.line
            for head in bucket.line.heads()
        )

    def _refusal(self, demands: Sequence[Demand], claims: Sequence[Claim], priority: int, now: float) -> Refusal:
        costs = dict(merged(claims, demands, priority))
        turns = [self._turn_at(bucket, costs[bucket], priority, now) for bucket, _ in claims]
        last = max(turns)
        demand = demands[turns.index(last)]
        if any(bucket.meter.goes_alone(now) for bucket, _ in claims):
            return Refusal(demand, None)
        is_reserved = priority <= 0 and self._grants.is_sooner_for_others(list(costs.items()), now)
        return Refusal(demand, None if last == math.inf else last - now, is_reserved)

    def _turn_at(self, bucket: Bucket, cost: int, priority: int, now: float) -> float:
        """When the permits can be had, after those who wait; infinity where that depends on a call under way."""
        if not bucket.line:
            return self._grants.bucket_free_at(bucket, cost, priority, now)
        most = bucket.most(priority)
        all_wanted = cost if most == math.inf else min(int(most), bucket.line.wanted + cost)
        free_at = self._grants.bucket_free_at(bucket, all_wanted, priority, now)
        head = bucket.line.heads()[0]
        turn_at = max(free_at, self._grants.free_at(head.claims, head.priority, now))
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
        :raises CostAboveLimit: the provider has told that it allows less than this cost.
        """
        now = self._clock.now()
        claims, priority = waiter.claims, waiter.priority
        for bucket, cost in claims:
            if cost > bucket.most(priority):
                raise refused_cost(Demand(bucket.scope, bucket.quota, cost), cost)
        if now >= waiter.deadline or self._grants.earliest_at(claims, priority, now) > waiter.deadline:
            raise self._too_late(claims, priority, now)
        waiter.looks_at = self._look(waiter, now)
        waiter.alarm = anyio.Event()
        until = min(waiter.looks_at, waiter.deadline)
        with timeout_at(self._clock, None if until == math.inf else until):
            await waiter.alarm.wait()
        waiter.looks_at = math.inf
        if waiter.permit is None:
            self._serve(claims, self._clock.now())

    def _ahead(self, waiter: Waiter) -> Sequence[Waiter] | None:
        """Those who come first at a bucket, and whom the waiter may pass where they lack only what is kept from them.

        None: somebody whom it may not pass comes first.
        """
        ahead = list[Waiter]()
        for bucket, _ in waiter.claims:
            first, *rest = bucket.line.heads()
            if first is waiter:
                continue
            if waiter not in rest:
                return None
            ahead.append(first)
        return ahead

    def _look(self, waiter: Waiter, now: float) -> float:
        """When the waiter may be able to take its permits; infinity while others of its kind come first.

        It is told from now on of what changes for those that it may pass.
        """
        ahead = self._ahead(waiter)
        waiter.look_on(ahead or ())
        if ahead is None:
            return math.inf
        passes_at = (self._grants.free_at(first.claims, 1, now) for first in ahead)
        looks_at = max(self._grants.free_at(waiter.claims, waiter.priority, now), *passes_at, now)
        # Who comes first and could have its permits by then is served, or waits behind somebody elsewhere. Either way
        # it is not to be passed, and what changes that is told.
        is_kept = all(self._grants.free_at(first.claims, 0, now) > looks_at for first in ahead)
        return looks_at if is_kept else math.inf

    def _is_next(self, waiter: Waiter, now: float) -> bool:
        """Whether nobody comes first at any bucket, or only those who wait for permits that are kept from them."""
        ahead = self._ahead(waiter)
        return ahead is not None and all(self._grants.is_reserved(first.claims, now) for first in ahead)

    def _too_late(self, claims: Sequence[Claim], priority: int, now: float) -> PermitTimeout:
        free_at = self._grants.free_at(claims, priority, now)
        wait = None if free_at == math.inf else free_at - now
        known = "that depends on calls under way" if wait is None else f"they are free in {wait:.3f} s at the earliest"
        scopes = ", ".join(str(bucket.scope) for bucket, _ in claims)
        return PermitTimeout(f"{scopes}: no permits before the deadline; {known}.", retry_after=wait)

    def _serve(self, claims: Sequence[Claim], now: float) -> None:
        """Grant to those next in line for these buckets while permits are free; let the others set their timers."""
        changed = [bucket for bucket, _ in claims if bucket.line.wanted]
        while changed:
            bucket = changed.pop()
            while bucket.line and (served := self._serve_one_of(bucket, now)) is not None:
                changed += [other for other, _ in served.claims if other is not bucket and other.line]

    def _serve_one_of(self, bucket: Bucket, now: float) -> Waiter | None:
        """Grant to one who waits for this bucket and is next, if all is free that it wants."""
        for waiter in (*bucket.line.heads(), *bucket.onlookers):
            if self._is_next(waiter, now):
                waiter.permit = self._grants.grant(waiter.demands, waiter.claims, waiter.priority, now)
            if waiter.permit is not None:
                waiter.leave()
                waiter.alarm.set()
                return waiter
            if self._look(waiter, now) < waiter.looks_at:
                waiter.alarm.set()
        return None


def rouse(claims: Sequence[Claim]) -> None:
    """Let those look again whose wait may have changed: the first, and all that have a timer or a deadline."""
    for bucket, _ in claims:
        for place, waiter in enumerate(bucket.line.in_order()):
            if place == 0 or waiter.deadline < math.inf or waiter.looks_at < math.inf:
                waiter.alarm.set()
