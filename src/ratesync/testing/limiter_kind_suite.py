"""The part of the limiters' conformance suite that is about kinds of quota, priorities and what providers tell."""

from __future__ import annotations

import anyio
import pytest

from ratesync.clock import Clock
from ratesync.errors import CostAboveLimit
from ratesync.model.feedback import Feedback, Reading, ThrottleCause
from ratesync.model.quota import Budget, Demand, FixedWindow, LeakyBucket, Observation, Penalty, Rate
from ratesync.protocols import Limiter
from ratesync.testing.limiter_callers import granted, refused, spend
from ratesync.testing.limiter_line_suite import ADA, BOB, LimiterLineSuite


class LimiterKindSuite(LimiterLineSuite):
    """Kinds of quota. Part of :class:`ratesync.testing.limiter_suite.LimiterSuite`."""

    def kept(self, permits: int, reserve: float, cost: int = 1) -> Demand:
        """A demand under a rate of which a share is kept for higher priorities."""
        return Demand(ADA, Rate(permits, per=10 * self.second, reserve=reserve), cost)

    def bucket(self, permits: int, restore: float, cost: int = 1) -> Demand:
        """A demand under a leaky bucket that restores so many permits in a unit of time."""
        return Demand(ADA, LeakyBucket(permits, restore=restore / self.second), cost)

    def told(self, reading: Reading | None = None, *, throttled: bool = False, **feedback: object) -> Observation:
        """What was learnt from a call whose answer told something."""
        readings = () if reading is None else (reading,)
        return Observation(throttled=throttled, feedback=Feedback(readings=readings, **feedback))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def to_the_next_window(self, clock: Clock, per: float) -> float:
        """Let the time pass to a little behind the start of a fixed window; the start of the one after that."""
        start = (clock.now() // per + 1) * per
        await anyio.sleep(start - clock.now() + per * 0.1)
        return start + per

    async def test_a_fixed_window_gives_all_back_when_the_next_begins(self, limiter: Limiter, clock: Clock) -> None:
        per = 5 * self.second
        demand = Demand(ADA, FixedWindow(2, per=per))
        next_at = await self.to_the_next_window(clock, per)
        await spend(limiter, demand)
        await self.sleep(2)
        await spend(limiter, demand)
        refusal = await refused(limiter, demand)
        assert refusal.retry_after == pytest.approx(next_at - clock.now(), abs=0.1 * per)
        await anyio.sleep(refusal.retry_after or 0.0)
        await self.sleep(self.late)
        await granted(limiter, demand)
        await granted(limiter, demand)

    async def test_a_call_over_the_start_of_a_fixed_window_counts_in_both(self, limiter: Limiter, clock: Clock) -> None:
        per = 5 * self.second
        demand = Demand(ADA, FixedWindow(2, per=per))
        await self.to_the_next_window(clock, per)
        permit = await granted(limiter, demand)
        await self.sleep(5)
        limiter.done(permit, Observation())
        await granted(limiter, demand)
        await refused(limiter, demand)

    async def test_a_budget_lasts_until_its_day_ends(self, limiter: Limiter, clock: Clock) -> None:
        demand = Demand(ADA, Budget(3, resets_at=(clock.now() + 40_000) % 86_400 // 1))
        await spend(limiter, Demand(*demand[:2], 2))
        await self.sleep(3)
        await spend(limiter, demand)
        refusal = await refused(limiter, demand)
        assert refusal.retry_after == pytest.approx(40_000, abs=5 + 5 * self.second)

    async def test_a_leaky_bucket_restores_what_was_used(self, limiter: Limiter, clock: Clock) -> None:
        demand = self.bucket(4, restore=1)
        for _ in range(4):
            await spend(limiter, demand)
        refusal = await refused(limiter, demand)
        assert refusal.retry_after == pytest.approx(self.second, abs=self.late * self.second)
        await self.sleep(2 + self.late)
        await spend(limiter, self.bucket(4, restore=1, cost=2))
        await refused(limiter, demand)

    async def test_a_leaky_bucket_restores_nothing_of_a_call_under_way(self, limiter: Limiter) -> None:
        permit = await granted(limiter, self.bucket(2, restore=1, cost=2))
        await self.sleep(5)
        await refused(limiter, self.bucket(2, restore=1))
        limiter.done(permit, Observation())
        await self.sleep(1 + self.late)
        await granted(limiter, self.bucket(2, restore=1))

    async def test_what_was_charged_less_is_free_again(self, limiter: Limiter) -> None:
        demand = Demand(ADA, LeakyBucket(10, restore=1e-6, unit="points"), 8)
        rate = Demand(ADA, Rate(10, per=10 * self.second, unit="points"), 8)
        permit = await granted(limiter, demand, rate)
        await refused(limiter, demand)
        limiter.done(permit, self.told(charged={"points": 2}))
        await granted(limiter, demand, rate)

    async def test_after_a_refusal_a_penalty_holds_everything(self, limiter: Limiter) -> None:
        demand = Demand(ADA, Penalty(5 * self.second))
        for _ in range(3):
            await spend(limiter, demand)
        await spend(limiter, demand, told=Observation(throttled=True))
        refusal = await refused(limiter, demand)
        assert refusal.retry_after == pytest.approx(5 * self.second, abs=self.late * self.second)
        await spend(limiter, Demand(BOB, Penalty(5 * self.second)))
        await self.sleep(5 + self.late)
        await spend(limiter, demand)

    async def test_a_provider_may_ask_for_a_rest_without_refusing(self, limiter: Limiter) -> None:
        await spend(limiter, self.calls(1), told=self.told(hold_for=5 * self.second))
        refusal = await refused(limiter, self.calls(1))
        assert refusal.retry_after == pytest.approx(5 * self.second, abs=self.late * self.second)
        await self.sleep(5 + self.late)
        await granted(limiter, self.calls(1))

    async def test_what_others_used_is_counted_once_it_is_told(self, limiter: Limiter) -> None:
        await spend(limiter, self.rate(10), told=self.told(Reading(limit=10, remaining=2)))
        await granted(limiter, self.rate(10, cost=2))
        await refused(limiter, self.rate(10))
        await self.sleep(10 + self.late)
        await granted(limiter, self.rate(10, cost=8))

    async def test_what_is_told_never_gives_more_than_was_declared(self, limiter: Limiter) -> None:
        await spend(limiter, self.rate(3, cost=2), told=self.told(Reading(limit=100, remaining=99)))
        await granted(limiter, self.rate(3))
        await refused(limiter, self.rate(3))

    async def test_a_lower_limit_is_kept_once_it_is_told(self, limiter: Limiter) -> None:
        await spend(limiter, self.rate(10), told=self.told(Reading(limit=4, remaining=3, per=10 * self.second)))
        (state,) = await limiter.snapshot([self.rate(10)])
        assert (state.limit, state.used) == (4, 1)
        with pytest.raises(CostAboveLimit):
            await limiter.reserve([self.rate(10, cost=5)])
        await granted(limiter, self.rate(10, cost=3))
        await refused(limiter, self.rate(10))

    async def test_what_a_bucket_lacks_is_counted_once_it_is_told(self, limiter: Limiter) -> None:
        demand = self.bucket(10, restore=1)
        await spend(limiter, demand, told=self.told(Reading(limit=10, remaining=1)))
        await granted(limiter, demand)
        await refused(limiter, demand)

    async def test_a_budget_that_is_used_up_by_others_is_left_alone(self, limiter: Limiter, clock: Clock) -> None:
        budget = Demand(ADA, Budget(100, resets_at=(clock.now() + 40_000) % 86_400 // 1))
        permit = await granted(limiter, budget, self.rate(5))
        limiter.done(permit, self.told(throttled=True, cause=ThrottleCause.BUDGET))
        refusal = await refused(limiter, budget, self.rate(5))
        assert refusal.demand == budget
        await granted(limiter, self.rate(5))

    async def test_kept_permits_are_for_higher_priorities(self, limiter: Limiter) -> None:
        await granted(limiter, self.kept(10, 0.3, cost=7))
        refusal = await refused(limiter, self.kept(10, 0.3))
        assert refusal.is_reserved
        await granted(limiter, self.kept(10, 0.3, cost=3), priority=1)
        assert not (await refused(limiter, self.kept(10, 0.3))).is_reserved
        await refused(limiter, self.kept(10, 0.3), priority=1)

    async def test_a_cost_that_needs_kept_permits_is_an_error(self, limiter: Limiter) -> None:
        with pytest.raises(CostAboveLimit):
            await limiter.reserve([self.kept(10, 0.3, cost=8)])
        await granted(limiter, self.kept(10, 0.3, cost=8), priority=1)

    async def test_a_higher_priority_comes_first(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            for name, priority in {"low": -1, "normal": 0, "high": 1, "higher": 2, "later": 2}.items():
                await callers.line_up(name, self.calls(1), priority=priority)
            limiter.done(permit, Observation())
            for _ in range(4):
                await anyio.sleep(self.moment)
                callers.end(callers.served[-1])
            await anyio.sleep(self.moment)
            assert callers.served == ["higher", "later", "high", "normal", "low"]

    async def test_who_waits_for_kept_permits_holds_nobody_up_who_may_have_them(
        self, limiter: Limiter, clock: Clock
    ) -> None:
        await spend(limiter, self.kept(10, 0.3, cost=7))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("normal", self.kept(10, 0.3))
            await callers.line_up("high", self.kept(10, 0.3), priority=1)
            assert callers.served == ["high"]
            await granted(limiter, self.kept(10, 0.3), priority=1)
            await self.sleep(10 + self.late)
            assert callers.served == ["high", "normal"]

    async def test_kept_permits_that_come_free_wake_those_who_may_have_them(
        self, limiter: Limiter, clock: Clock
    ) -> None:
        await spend(limiter, self.kept(10, 0.3, cost=7))
        await self.sleep(3)
        limiter.done(await granted(limiter, self.kept(10, 0.3, cost=3), priority=1), Observation())
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("normal", self.kept(10, 0.3, cost=7))
            await callers.line_up("high", self.kept(10, 0.3, cost=2), priority=1)
            await self.sleep(7 + self.late)
            assert callers.served == ["high"]  # seven came free, but three of all must stay
            callers.end("high")
            await self.sleep(3 + self.late)
            assert callers.served == ["high"]
            await self.sleep(7)
            assert callers.served == ["high", "normal"]

    async def test_the_state_of_a_quota_tells_who_waits_and_what_is_held(self, limiter: Limiter, clock: Clock) -> None:
        (state,) = await limiter.snapshot([self.rate(2)])
        assert (state.used, state.limit, state.waiting, state.held_until) == (0, 2, 0, None)
        permit = await granted(limiter, self.rate(2, cost=2))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.rate(2))
            (state,) = await limiter.snapshot([self.rate(2)])
            assert (state.used, state.next_free_at, state.waiting) == (2, None, 1)
            self.throttle(limiter, permit, retry_after=15)
            (state,) = await limiter.snapshot([self.rate(2)])
            assert state.held_until == pytest.approx(clock.now() + 15 * self.second, abs=self.late * self.second)
