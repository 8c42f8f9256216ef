"""Laws of the exact limiter for every kind of quota, against strict providers with clocks of their own.

What is free is asked of the limiter itself here; that meters tell the truth is tested with the rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.feedback import Feedback, Reading
from ratesync.model.quota import (
    Budget,
    Concurrency,
    Demand,
    FixedWindow,
    LeakyBucket,
    Observation,
    Penalty,
    Permit,
    Quota,
    Rate,
)
from ratesync.rules.fixed_window import GUARD, MOST_GUARD
from ratesync.testing.limiter_callers import StrictProvider, strict_count
from ratesync.testing.virtual_time import Backend, run_virtual
from tests.memory.limiter_world import CALLER, SCOPES, TICK, Caller, Visit, World

DAY = 86_400.0
PERMITS = st.integers(1, 6)
RESERVE = st.sampled_from([0.0, 0.0, 0.0, 0.5])
UNIT = st.sampled_from(["calls", "points"])
SHORT = st.sampled_from([4 * TICK, 50.0, 55.0])
"""At most a minute, so that all of it may be in doubt; 50 s and 55 s do not divide a day."""


def kinds(per: st.SearchStrategy[float]) -> st.SearchStrategy[Quota]:
    return st.one_of(
        st.builds(Rate, PERMITS, per=per, reserve=RESERVE, unit=UNIT),
        st.builds(FixedWindow, PERMITS, per=per, reserve=RESERVE, unit=UNIT),
        st.builds(LeakyBucket, PERMITS, restore=st.sampled_from([1 / 64, 1 / 8, 0.3]), reserve=RESERVE, unit=UNIT),
        st.builds(Concurrency, PERMITS, reserve=RESERVE),
        st.builds(Penalty, SHORT),
    )


def demands_of(quotas: st.SearchStrategy[Quota]) -> st.SearchStrategy[list[Demand]]:
    return st.lists(st.builds(Demand, st.sampled_from(SCOPES), quotas, st.just(1)), min_size=1, max_size=3, unique=True)


class KindWorld(World):
    """A provider that counts strictly by its own clock, refuses what is too much, and tells how quotas stand."""

    def __init__(
        self, demands: Sequence[Demand], callers: Sequence[Caller], provider: StrictProvider, *, cold_start: bool
    ) -> None:
        super().__init__(demands, callers)
        self.provider = provider
        self.cold_start = cold_start

    async def run(self) -> None:
        """All come and go, and everybody who had the patience was served."""
        await self.run_until(math.inf)
        for visit, caller in zip(self.visits, self.who_waited(), strict=True):
            if caller.gives_up_after is None and caller.deadline_after is None:
                assert visit.permit is not None
        await self.check_the_end(2 * DAY)

    async def run_until(self, seconds: float) -> None:
        """The process starts, and dies after so many seconds: nothing that was on its way arrives."""
        self.limiter = MemoryLimiter(clock=self.clock, cold_start=self.cold_start)
        with anyio.move_on_after(seconds):
            await self.call_all()
        self.check_order()

    def who_waited(self) -> list[Caller]:
        return [self.callers[visit.number] for visit in self.visits]

    @override
    def fits(self, visit: Visit, now: float, priority: int) -> bool:
        grants = self.limiter._grants  # pyright: ignore[reportPrivateUsage]
        found = [(grants.table.find(demand), demand.cost) for demand in visit.demands]
        claims = [(bucket, cost) for bucket, cost in found if bucket is not None]
        assert len(claims) == len(visit.demands), "a bucket was dropped while somebody waits for it"
        return grants.free_at(claims, priority, now) <= now

    @override
    def arrived(self, visit: Visit, caller: Caller) -> Observation:
        points = [demand.cost for demand in visit.demands if getattr(demand.quota, "unit", "") == "points"]
        charged = {"points": max(0, min(points) - caller.saves)} if points else {}
        counted = [
            Demand(scope, quota, charged.get(getattr(quota, "unit", ""), cost)) for scope, quota, cost in visit.demands
        ]
        fits = self.provider.count(counted, self.clock.now())
        readings = tuple(self.readings(counted)) if caller.tells else ()
        throttled = caller.ends == "throttled" or not fits
        return Observation(throttled=throttled, feedback=Feedback(readings=readings, charged=charged))

    def readings(self, demands: Sequence[Demand]) -> list[Reading]:
        now, told = self.clock.now(), list[Reading]()
        for scope, quota, _ in demands:
            count = self.provider.count_of(scope, quota)
            if count is not None and isinstance(quota, Rate | FixedWindow | LeakyBucket | Budget):
                per = DAY if isinstance(quota, Budget) else getattr(quota, "per", None)
                left = math.floor(quota.permits - count.used(now) + 1e-6)
                told.append(Reading(limit=quota.permits, remaining=left, per=per))
        return told

    @override
    def end(self, visit: Visit, permit: Permit, caller: Caller, told: Observation) -> None:
        if caller.ends == "refund":
            self.limiter.refund(permit)
        else:
            self.limiter.done(permit, told)


def provider_of(demands: Sequence[Demand], ahead: float) -> StrictProvider:
    """Its clock is ahead by that share of what is allowed for."""
    provider = StrictProvider()
    for scope, quota, _ in demands:
        guard = min(MOST_GUARD, GUARD * getattr(quota, "per", DAY))
        provider.counts[scope, quota] = strict_count(quota, ahead=ahead * guard)
    return provider


AHEAD = st.sampled_from([-0.99, 0.0, 0.99]) | st.floats(-0.99, 0.99)
BACKEND: st.SearchStrategy[Backend] = st.sampled_from(["asyncio", "trio"])
ANY_KIND = kinds(st.sampled_from([4 * TICK, 50.0, 40 * TICK])) | st.builds(Budget, PERMITS, reserve=RESERVE)


@given(demands_of(ANY_KIND), st.lists(CALLER, min_size=5, max_size=30), AHEAD, BACKEND, st.integers(0, 3))
def test_quotas_of_all_kinds_are_kept_and_everybody_is_served(
    demands: list[Demand], callers: list[Caller], ahead: float, backend: Backend, seed: int
) -> None:
    provider = provider_of(demands, ahead)
    run_virtual(KindWorld(demands, callers, provider, cold_start=False).run, backend=backend, seed=seed)
    assert provider.overfull == []


@given(
    demands_of(kinds(SHORT)),
    st.lists(CALLER, min_size=5, max_size=20),
    st.lists(CALLER, min_size=5, max_size=20),
    st.integers(1, 50),
    AHEAD,
    BACKEND,
)
def test_after_a_restart_at_most_one_call_is_refused_under_each_window(  # noqa: PLR0917  Hypothesis passes by name
    demands: list[Demand], before: list[Caller], after: list[Caller], ticks: int, ahead: float, backend: Backend
) -> None:
    provider = provider_of(demands, ahead)

    async def run() -> None:
        await KindWorld(demands, before, provider, cold_start=False).run_until(ticks * TICK + TICK / 4)
        assert provider.overfull == []
        provider.under_way.clear()
        await KindWorld(demands, after, provider, cold_start=True).run()

    run_virtual(run, backend=backend)
    assert len(provider.overfull) <= sum(isinstance(demand.quota, Rate | FixedWindow) for demand in demands)
