"""Limiters with one fault each. A conformance suite that lets one of them pass does not check what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import anyio
from attrs import define, evolve
from typing_extensions import override

from ratesync.clock import Clock
from ratesync.errors import CostAboveLimit
from ratesync.memory.bucket import Bucket, BucketTable, Claim, Waiter
from ratesync.memory.grants import Grants
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Quota, QuotaUse, Refusal, Scope
from ratesync.rules.concurrency import Occupancy
from ratesync.rules.hold import Holds
from ratesync.rules.window import Window


class Mutant(MemoryLimiter):
    """Made of parts that may be exchanged."""

    Grants: ClassVar[type[Grants]] = Grants
    Bucket: ClassVar[type[Bucket]] = Bucket
    Window: ClassVar[type[Window]] = Window
    Occupancy: ClassVar[type[Occupancy]] = Occupancy

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._grants = self.Grants()
        self._grants.table = Table(self)

    def bucket(self, bucket: Bucket) -> Bucket:
        meter = bucket.meter
        if isinstance(meter, Window):
            meter = self.Window(permits=meter.permits, per=meter.per, grain=meter.grain)
        else:
            meter = self.Occupancy(meter.permits)
        return self.Bucket(bucket.scope, bucket.quota, meter, bucket.asked_at)


class Table(BucketTable):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__()
        self._mutant = mutant

    @override
    def _add(self, scope: Scope, quota: Quota) -> Bucket:
        super()._add(scope, quota)
        self._round.pop()
        bucket = self._buckets[scope, quota] = self._mutant.bucket(self._buckets[scope, quota])
        self._round.append(bucket)
        return bucket


class CountsFromTheStart(Mutant):
    class Window(Window):
        @override
        def settle(self, cost: int, started_at: float, now: float) -> None:
            super().settle(cost, started_at, started_at)


class ForgetsAtTheEnd(Mutant):
    class Window(Window):
        @override
        def settle(self, cost: int, started_at: float, now: float) -> None:
            self.refund(cost)


class ForgetsWhatIsUnderWay(Mutant):
    """A call is counted for one window from its start, even while it lasts."""

    class Window(Window):
        @override
        def take(self, cost: int, now: float) -> bool:
            taken = super().take(cost, now)
            if taken:
                super().settle(cost, now, now)
            return taken

        @override
        def settle(self, cost: int, started_at: float, now: float) -> None:
            pass


class OneTooMany(Mutant):
    class Window(Window):
        @override
        def take(self, cost: int, now: float) -> bool:
            return super().take(cost, now) or (cost == 1 and self.used(now) == self.permits and self._take_one())

        def _take_one(self) -> bool:
            self.under_way += 1
            return True


class OneTooFew(Mutant):
    class Window(Window):
        @override
        def take(self, cost: int, now: float) -> bool:
            return self.used(now) + cost < max(self.permits, 2) and super().take(cost, now)


class WindowTooShort(Mutant):
    @override
    def bucket(self, bucket: Bucket) -> Bucket:
        bucket = super().bucket(bucket)
        if isinstance(bucket.meter, Window):
            bucket.meter.per *= 0.99
        return bucket


class EachCallCostsOne(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve([evolve(demand, cost=min(demand.cost, 1)) for demand in demands])
        return answer


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
        def take(self, cost: int, now: float) -> bool:
            self.under_way += cost
            return True


class ConcurrencyEndsWithTime(Mutant):
    class Occupancy(Occupancy):
        @override
        def take(self, cost: int, now: float) -> bool:
            self.taken_at = now
            return super().take(cost, now) or now > self.taken_at

    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve(demands)
        if isinstance(answer, Refusal) and answer.retry_after is None and isinstance(answer.demand.quota, Concurrency):
            return evolve(answer, retry_after=1.0)
        return answer


class PartOfTheDemands(Mutant):
    """What was taken before a refusal stays taken."""

    class Grants(Grants):
        @override
        def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Permit | None:
            for position in range(len(claims)):
                if super().grant(demands[: position + 1], claims[: position + 1], now) is None:
                    return None
                for bucket, cost in claims[:position]:
                    bucket.meter.refund(cost)
            return super().grant(demands, [], now) if not claims else self._last(demands, claims, now)

        def _last(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Permit:
            permit = Permit(next(self._ids), tuple(demands), now)
            self._granted[permit.id] = (permit, claims)
            return permit


class OnlyTheFirstDemand(Mutant):
    class Grants(Grants):
        @override
        def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Permit | None:
            return super().grant(demands, claims[:1], now)


class ScopesCountedTogether(Mutant):
    class Table(Table):
        pass

    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        return await super().reserve([evolve(demand, scope=Scope(demand.scope.provider)) for demand in demands])


class HoldForgotten(Mutant):
    @override
    def done(self, permit: Permit, observation: Observation) -> None:
        super().done(permit, Observation())


class HoldsWithoutBeingThrottled(Mutant):
    @override
    def done(self, permit: Permit, observation: Observation) -> None:
        super().done(permit, evolve(observation, throttled=True))


class HoldsOnlyTheScopesOfThePermit(Mutant):
    class Holds(Holds):
        @override
        def hold(self, scope: Scope, until: float, now: float) -> None:
            if not scope.resource:
                super().hold(scope, until, now)
            else:
                self._until[scope] = until

        @override
        def free_at(self, scope: Scope, now: float) -> float:
            return max(super().free_at(scope, now), self._until.get(scope, 0.0))

    class Grants(Grants):
        def __init__(self) -> None:
            super().__init__()
            self._holds = HoldsOnlyTheScopesOfThePermit.Holds()


class HoldsTheProvider(Mutant):
    class Holds(Holds):
        @override
        def free_at(self, scope: Scope, now: float) -> float:
            return max([now, *self._until.values()])

    class Grants(Grants):
        def __init__(self) -> None:
            super().__init__()
            self._holds = HoldsTheProvider.Holds()


class LastHoldCounts(Mutant):
    class Holds(Holds):
        @override
        def hold(self, scope: Scope, until: float, now: float) -> None:
            self._until.clear()
            self._ends.clear()
            super().hold(scope, until, now)

    class Grants(Grants):
        def __init__(self) -> None:
            super().__init__()
            self._holds = LastHoldCounts.Holds()


class EndsTwice(Mutant):
    """Each end of a permit frees it again."""

    class Grants(Grants):
        @override
        def settle(self, permit: Permit, observation: Observation, now: float) -> Sequence[Claim]:
            kept = self._granted.get(permit.id) or self._ended[permit.id]
            self._granted[permit.id] = self._ended[permit.id] = kept
            return super().settle(permit, observation, now)

        def __init__(self) -> None:
            super().__init__()
            self._ended: dict[int, tuple[Permit, Sequence[Claim]]] = {}


class WaitOfTheFirstDemand(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve(demands)
        if isinstance(answer, Refusal):
            return await super().reserve(demands[:1]) if len(demands) > 1 else answer
        return answer


class WaitInWholeUnits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve(demands)
        if isinstance(answer, Refusal) and answer.retry_after is not None:
            return evolve(answer, retry_after=math.floor(answer.retry_after))
        return answer


class WaitNeverTold(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve(demands)
        return evolve(answer, retry_after=None) if isinstance(answer, Refusal) else answer


class ReserveWaits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        answer = await super().reserve(demands)
        if isinstance(answer, Refusal):
            await anyio.sleep(0.1)
        return answer


class ReservePassesTheLine(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        now = self._clock.now()
        claims = self._grants.table.claims(demands, now)
        return self._grants.grant(demands, claims, now) or await super().reserve(demands)


class CostAboveLimitWaits(Mutant):
    @override
    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        try:
            return await super().reserve(demands)
        except CostAboveLimit:
            return Refusal(demands[0], None)


class LastComeFirstServed(Mutant):
    class Bucket(Bucket):
        @property
        @override
        def head(self) -> Waiter:
            return next(reversed(self.waiters))


class SmallCostsFirst(Mutant):
    class Bucket(Bucket):
        @property
        @override
        def head(self) -> Waiter:
            return min(self.waiters, key=lambda waiter: self.waiters[waiter])


class OneLineForAll(Mutant):
    """Whoever waits makes everybody wait."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._lock = anyio.Lock()

    @override
    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        async with self._lock:
            return await super().acquire(demands, deadline=deadline)


class FirstInOneLineIsEnough(Mutant):
    @override
    async def _wait(self, waiter: Waiter) -> Permit:
        return await super()._wait(Impatient(waiter.demands, waiter.claims, waiter.deadline))


@define(eq=False)
class Impatient(Waiter):
    @property
    @override
    def is_next(self) -> bool:
        return any(bucket.head is self for bucket, _ in self.claims)


class CancelledPermitLeaks(Mutant):
    @override
    async def _wait(self, waiter: Waiter) -> Permit:
        try:
            return await super()._wait(waiter)
        except BaseException:
            if waiter.permit is not None:
                await self.acquire([])  # the refund that was made is taken back
                self._grants.grant(waiter.demands, waiter.claims, self._clock.now())
            raise


class CancelledWaitersStay(Mutant):
    @override
    async def _wait(self, waiter: Waiter) -> Permit:
        try:
            return await super()._wait(waiter)
        except BaseException:
            waiter.line_up()
            raise


class NobodyFollowsWhoGaveUp(Mutant):
    @override
    async def _wait(self, waiter: Waiter) -> Permit:
        waiter.line_up()
        try:
            while (permit := waiter.permit) is None:
                await self._sleep(waiter)
        except BaseException:
            if waiter.permit is None:
                waiter.leave()
            else:
                self._grants.refund(waiter.permit)
            raise
        return permit


class TakesWhileWaiting(Mutant):
    """Who waits holds what is free already."""

    @override
    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        for demand in demands:
            await super().acquire([demand], deadline=deadline)
        return self._grants.grant(demands, [], self._clock.now()) or await super().acquire([])


class DeadlineIgnored(Mutant):
    @override
    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        return await super().acquire(demands)


class PassedDeadlineIgnored(Mutant):
    @override
    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        return await super().acquire(demands, deadline=None if deadline is None else max(deadline, self._clock.now()))


class HopelessWaitersWait(Mutant):
    class Grants(Grants):
        @override
        def earliest_at(self, claims: Sequence[Claim], now: float) -> float:
            return now


class GivesUpBeforeCallsEnd(Mutant):
    """Takes a wait that depends on a call under way for one that lasts for ever."""

    class Grants(Grants):
        @override
        def earliest_at(self, claims: Sequence[Claim], now: float) -> float:
            return self.free_at(claims, now)


class WakesLate(Mutant):
    class Grants(Grants):
        @override
        def free_at(self, claims: Sequence[Claim], now: float) -> float:
            free_at = super().free_at(claims, now)
            return free_at if free_at == now else free_at + 0.1


class UsageOfEndedCallsOnly(Mutant):
    @override
    async def usage(self, demands: Sequence[Demand]) -> Sequence[QuotaUse]:
        uses = await super().usage(demands)
        return [evolve(use, used=0 if use.next_free_at is None else use.used) for use in uses]


class UsageTakes(Mutant):
    @override
    async def usage(self, demands: Sequence[Demand]) -> Sequence[QuotaUse]:
        await self.reserve(demands)
        return await super().usage(demands)
