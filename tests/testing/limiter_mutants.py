"""Limiters with one fault each. A conformance suite that lets one of them pass does not check what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import anyio
from attrs import evolve
from typing_extensions import override

from ratesync.clock import Clock
from ratesync.errors import CostAboveLimit
from ratesync.memory.bucket import Bucket, Claim, Waiter
from ratesync.memory.bucket_table import BucketTable
from ratesync.memory.grants import Grants
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Quota, QuotaState, Refusal, Scope
from ratesync.rules.concurrency import Occupancy
from ratesync.rules.hold import Holds
from ratesync.rules.line import Line
from ratesync.rules.window import Window

AnyBucket = Bucket
AnyGrants = Grants


class Mutant(MemoryLimiter):
    """Made of parts that may be exchanged."""

    Grants: ClassVar[type[Grants]] = Grants
    Bucket: ClassVar[type[Bucket]] = Bucket
    Window: ClassVar[type[Window]] = Window
    Occupancy: ClassVar[type[Occupancy]] = Occupancy
    Line: ClassVar[type[Line[Waiter]]] = Line

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock, cold_start=False)
        self._grants = self.new_grants()
        self._grants.table = Table(self)

    def new_grants(self) -> AnyGrants:
        return self.Grants(-math.inf)

    def bucket(self, bucket: AnyBucket) -> AnyBucket:
        meter = bucket.meter
        if isinstance(meter, Window):
            meter = self.Window(permits=meter.permits, per=meter.per, grain=meter.grain)
        else:
            meter = self.Occupancy(bucket.quota.permits) if isinstance(bucket.quota, Concurrency) else meter
        mutated = self.Bucket(bucket.scope, bucket.quota, meter, bucket.asked_at)
        mutated.line = self.Line()
        return mutated


class Table(BucketTable):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__(-math.inf)
        self._mutant = mutant

    @override
    def _add(self, scope: Scope, quota: Quota, now: float) -> Bucket:
        super()._add(scope, quota, now)
        self._round.pop()
        bucket = self._buckets[scope, quota] = self._mutant.bucket(self._buckets[scope, quota])
        self._round.append(bucket)
        return bucket


class CountsFromTheStart(Mutant):
    class Window(Window):
        @override
        def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
            super().settle(cost, charged, granted_at, granted_at)


class ForgetsAtTheEnd(Mutant):
    class Window(Window):
        @override
        def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
            self.refund(cost)


class ForgetsWhatIsUnderWay(Mutant):
    """A call is counted for one window from its start, even while it lasts."""

    class Window(Window):
        @override
        def take(self, cost: int, now: float, kept: int = 0) -> bool:
            taken = super().take(cost, now, kept)
            if taken:
                super().settle(cost, cost, now, now)
            return taken

        @override
        def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
            pass


class OneTooMany(Mutant):
    class Window(Window):
        @override
        def take(self, cost: int, now: float, kept: int = 0) -> bool:
            return super().take(cost, now, kept) or (cost == 1 and self.used(now) == self.permits and self._take_one())

        def _take_one(self) -> bool:
            self.under_way += 1
            return True


class OneTooFew(Mutant):
    class Window(Window):
        @override
        def take(self, cost: int, now: float, kept: int = 0) -> bool:
            return self.used(now) + cost < max(self.permits, 2) and super().take(cost, now, kept)


class WindowTooShort(Mutant):
    @override
    def bucket(self, bucket: AnyBucket) -> AnyBucket:
        bucket = super().bucket(bucket)
        if isinstance(bucket.meter, Window):
            bucket.meter.credit.per *= 0.99
        return bucket


class RefundForgotten(Mutant):
    class Window(Window):
        @override
        def refund(self, cost: int) -> None:
            pass


class RefundSpends(Mutant):
    @override
    def refund(self, permit: Permit) -> None:
        self.done(permit, Observation())


class RefundWakesNobody(Mutant):
    @override
    def refund(self, permit: Permit) -> None:
        self._grants.refund(permit)


class DoneWakesNobody(Mutant):
    @override
    def done(self, permit: Permit, observation: Observation) -> None:
        self._grants.settle(permit, observation, self._clock.now())


class ConcurrencyIgnored(Mutant):
    class Occupancy(Occupancy):
        @override
        def take(self, cost: int, now: float, kept: int = 0) -> bool:
            self.under_way += cost
            return True


class OnlyTheFirstDemand(Mutant):
    class Grants(Grants):
        @override
        def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], priority: int, now: float) -> Permit | None:
            return super().grant(demands, claims[:1], priority, now)


class HoldForgotten(Mutant):
    @override
    def done(self, permit: Permit, observation: Observation) -> None:
        super().done(permit, Observation())


class HoldsWithoutBeingThrottled(Mutant):
    @override
    def done(self, permit: Permit, observation: Observation) -> None:
        super().done(permit, evolve(observation, throttled=True))


class EndsTwice(Mutant):
    """Each end of a permit frees it again."""

    class Grants(Grants):
        @override
        def settle(self, permit: Permit, observation: Observation, now: float) -> tuple[Sequence[Claim], bool]:
            kept = self._granted.get(permit.id) or self._ended[permit.id]
            self._granted[permit.id] = self._ended[permit.id] = kept
            return super().settle(permit, observation, now)

        def __init__(self, alone_since: float) -> None:
            super().__init__(alone_since)
            self._ended: dict[int, tuple[Permit, Sequence[Claim]]] = {}


class WaitInWholeUnits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        answer = await super().reserve(demands, priority=priority)
        if isinstance(answer, Refusal) and answer.retry_after is not None:
            return evolve(answer, retry_after=math.floor(answer.retry_after))
        return answer


class WaitNeverTold(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        answer = await super().reserve(demands, priority=priority)
        return evolve(answer, retry_after=None) if isinstance(answer, Refusal) else answer


class ReserveWaits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        answer = await super().reserve(demands, priority=priority)
        if isinstance(answer, Refusal):
            await anyio.sleep(0.1)
        return answer


class CostAboveLimitWaits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        try:
            return await super().reserve(demands, priority=priority)
        except CostAboveLimit:
            return Refusal(demands[0], None)


class UsageTakes(Mutant):
    @override
    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        await self.reserve(demands)
        return await super().snapshot(demands)


class EachCallCostsOne(Mutant):
    class Window(Window):
        @override
        def take(self, cost: int, now: float, kept: int = 0) -> bool:
            return super().take(1, now, kept)

        @override
        def refund(self, cost: int) -> None:
            super().refund(1)

        @override
        def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
            super().settle(1, 1, granted_at, now)


class ConcurrencyNeverEnds(Mutant):
    class Occupancy(Occupancy):
        @override
        def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
            pass


class PartOfTheDemands(Mutant):
    """What was taken before the refusal of a later demand stays taken."""

    class Grants(Grants):
        @override
        def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], priority: int, now: float) -> Permit | None:
            permit = super().grant(demands, claims, priority, now)
            if permit is None:
                all(bucket.meter.take(cost, now) for bucket, cost in claims)
            return permit


class UsageWithoutCallsUnderWay(Mutant):
    @override
    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        uses = await super().snapshot(demands)
        return [evolve(use, used=0) if isinstance(use.demand.quota, Concurrency) else use for use in uses]


class UsageAlwaysFree(Mutant):
    @override
    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        return [evolve(use, next_free_at=self._clock.now()) for use in await super().snapshot(demands)]


class WaitOfTheFirstDemand(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        answer = await super().reserve(demands, priority=priority)
        if isinstance(answer, Permit):
            return answer
        (use,) = await self.snapshot(demands[:1])
        return Refusal(demands[0], None if use.next_free_at is None else use.next_free_at - self._clock.now())


class OtherHolds(Mutant):
    """Has holds of another kind."""

    Holds: ClassVar[type[Holds]] = Holds

    class Grants(Grants):
        def __init__(self, holds: Holds) -> None:
            super().__init__(-math.inf)
            self._holds = holds

    @override
    def new_grants(self) -> AnyGrants:
        return OtherHolds.Grants(self.Holds())


class HoldsOnlyScopesOfThePermit(OtherHolds):
    class Holds(Holds):
        @override
        def hold(self, scope: Scope, until: float, now: float) -> None:
            self._until[scope] = until

        @override
        def free_at(self, scope: Scope, now: float) -> float:
            return max(now, self._until.get(scope, now))


class HoldsEverything(OtherHolds):
    class Holds(Holds):
        @override
        def free_at(self, scope: Scope, now: float) -> float:
            return max(now, *self._until.values(), 0.0)


class LastHoldCounts(OtherHolds):
    class Holds(Holds):
        @override
        def hold(self, scope: Scope, until: float, now: float) -> None:
            self._until.clear()
            self._ends.clear()
            super().hold(scope, until, now)


def mutants_in(names: Mapping[str, object]) -> list[type[Mutant]]:
    """The limiters with a fault among the globals of a module."""
    found = {value for value in names.values() if isinstance(value, type) and issubclass(value, Mutant)}
    return sorted(found - {Mutant, OtherHolds}, key=lambda mutant: mutant.__name__)


MUTANTS = mutants_in(globals())
