"""Limiters with one fault each in how they let others wait."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from typing_extensions import override

from ratesync.clock import Clock
from ratesync.memory.bucket import Claim, Waiter
from ratesync.memory.grants import Grants
from ratesync.model.quota import Demand, Permit, Refusal
from ratesync.rules.line import Line as WholeLine
from tests.testing.limiter_mutants import Mutant, mutants_in


class LastComeFirstServed(Mutant):
    class Line(WholeLine[Waiter]):
        @override
        def heads(self) -> list[Waiter]:
            return list(self.in_order())[-1:]


class SmallCostsFirst(Mutant):
    class Line(WholeLine[Waiter]):
        @override
        def heads(self) -> list[Waiter]:
            return [min(self.in_order(), key=lambda waiter: sum(cost for _, cost in waiter.claims))]


class PriorityIgnored(Mutant):
    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        return await super().acquire(demands, deadline=deadline)


class OneLineForAll(Mutant):
    """Whoever waits makes everybody wait."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._lock = anyio.Lock()

    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        async with self._lock:
            return await super().acquire(demands, priority=priority, deadline=deadline)


class FirstInOneLineIsEnough(Mutant):
    @override
    def _is_next(self, waiter: Waiter, now: float) -> bool:
        return any(bucket.line.heads()[0] is waiter for bucket, _ in waiter.claims)


class TakesWhileWaiting(Mutant):
    """One demand after the other is taken and held."""

    class Grants(Grants):
        def joined(self, demands: Sequence[Demand], parts: Sequence[Permit], now: float) -> Permit:
            permit = Permit(next(self._ids), tuple(demands), now)
            claims = [claim for part in parts for claim in self._granted.pop(part.id)[1]]
            self._granted[permit.id] = (permit, claims)
            return permit

    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        parts = [await super(TakesWhileWaiting, self).acquire([demand], priority=priority) for demand in demands]
        assert isinstance(self._grants, TakesWhileWaiting.Grants)
        return self._grants.joined(demands, parts, self._clock.now())


class GivingUp(Mutant):
    """Waits as the original does, and has a switch for each thing to do when that is broken off."""

    leaves = True
    lets_others_on = True
    refunds = True

    @override
    async def _wait(self, waiter: Waiter) -> Permit:
        waiter.line_up()
        try:
            while (permit := waiter.permit) is None:
                await self._sleep(waiter)
        except BaseException:
            if waiter.permit is not None and self.refunds:
                self.refund(waiter.permit)
            if waiter.permit is None and self.leaves:
                waiter.leave()
            if self.lets_others_on:
                self._serve(waiter.claims, self._clock.now())
            raise
        return permit


class PlaceInLineKept(GivingUp):
    leaves = False


class NobodyFollows(GivingUp):
    lets_others_on = False


class PermitLost(GivingUp):
    refunds = False


class DeadlineIgnored(Mutant):
    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        return await super().acquire(demands, priority=priority)


class PassedDeadlineIgnored(Mutant):
    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        return await super().acquire(
            demands, priority=priority, deadline=None if deadline is None else max(deadline, self._clock.now())
        )


class HopelessWaitersWait(Mutant):
    class Grants(Grants):
        @override
        def earliest_at(self, claims: Sequence[Claim], priority: int, now: float) -> float:
            return now


class GivesUpBeforeCallsEnd(Mutant):
    """Takes a wait that depends on a call under way for one that lasts for ever."""

    class Grants(Grants):
        @override
        def earliest_at(self, claims: Sequence[Claim], priority: int, now: float) -> float:
            return self.free_at(claims, priority, now)


class WakesLate(Mutant):
    class Grants(Grants):
        @override
        def free_at(self, claims: Sequence[Claim], priority: int, now: float) -> float:
            free_at = super().free_at(claims, priority, now)
            return free_at if free_at == now else free_at + 0.1


class ReservePassesTheLine(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        return self._grants.grant(demands, claims, priority, now) or await super().reserve(demands)


MUTANTS = [mutant for mutant in mutants_in(globals()) if mutant is not GivingUp]
