"""The conformance suite of limiters: each sentence of :class:`ratesync.protocols.Limiter` as a test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import anyio
import pytest

from ratesync.clock import Clock
from ratesync.errors import CostAboveLimit, LimiterError
from ratesync.model.quota import Demand, Observation, Scope
from ratesync.protocols import Limiter
from ratesync.testing.limiter_callers import StrictProvider, granted, refused, spend
from ratesync.testing.limiter_kind_suite import LimiterKindSuite
from ratesync.testing.limiter_line_suite import ADA, BOB, CONTACTS, DEALS, PROVIDER


class LimiterSuite(LimiterKindSuite):
    """Subclass it and give a fixture ``limiter``.

    ::

        class TestMyLimiter(LimiterSuite):
            @pytest.fixture
            async def limiter(self, clock: Clock) -> AsyncIterator[MyLimiter]: ...

    ``limiter`` is a new limiter, open, of which nothing is used; it is closed after the test. It must know that nobody
    else used the quotas before (see ``cold_start`` of our own). The fixture ``clock`` is
    the clock that it uses: the machine's, unless replaced. Time passes by ``anyio.sleep``, so a limiter that lives in
    this process can be run in virtual time (see :mod:`ratesync.testing.virtual_time`). For another one, set ``second``
    as short as its ``late`` and ``moment`` allow.
    """

    async def test_permits_are_granted_until_the_limit(self, limiter: Limiter) -> None:
        demand = self.rate(2)
        await granted(limiter, demand)
        await granted(limiter, demand)
        await refused(limiter, demand)

    async def test_costs_add_up(self, limiter: Limiter) -> None:
        await granted(limiter, self.rate(5, cost=3))
        await refused(limiter, self.rate(5, cost=3))
        await granted(limiter, self.rate(5, cost=2))

    async def test_the_permit_tells_what_it_is_for(self, limiter: Limiter, clock: Clock) -> None:
        demands = (self.rate(2), self.calls(3))
        before = clock.now()
        permit = await granted(limiter, *demands)
        assert tuple(permit.demands) == demands
        assert before <= permit.granted_at <= clock.now()

    async def test_scopes_are_counted_apart(self, limiter: Limiter) -> None:
        for scope in (PROVIDER, ADA, BOB, CONTACTS, DEALS, Scope("other", "ada")):
            await granted(limiter, self.rate(1, scope=scope))

    async def test_quotas_of_one_scope_are_counted_apart(self, limiter: Limiter) -> None:
        await granted(limiter, self.rate(1, per=10))
        await granted(limiter, self.rate(1, per=20))
        await granted(limiter, self.calls(1))

    async def test_a_quota_is_shared_by_all_calls_at_its_scope(self, limiter: Limiter) -> None:
        await granted(limiter, self.rate(1, scope=PROVIDER), self.rate(5, scope=ADA))
        await refused(limiter, self.rate(1, scope=PROVIDER), self.rate(5, scope=BOB))

    @pytest.mark.parametrize("position", range(3))
    async def test_all_demands_are_granted_or_none(self, limiter: Limiter, position: int) -> None:
        demands = [self.rate(1, scope=PROVIDER), self.rate(1), self.calls(1)]
        await granted(limiter, demands[position])
        refusal = await refused(limiter, *demands)
        assert refusal.demand == demands[position]
        for demand in demands[:position] + demands[position + 1 :]:
            await granted(limiter, demand)

    async def test_a_quota_named_twice_is_charged_twice(self, limiter: Limiter) -> None:
        await granted(limiter, self.rate(5), self.rate(5, cost=2))
        (use,) = await limiter.snapshot([self.rate(5)])
        assert use.used == 3
        await refused(limiter, self.rate(5, cost=2), self.rate(5))
        with pytest.raises(CostAboveLimit):
            await limiter.reserve([self.rate(5, cost=3), self.rate(5, cost=3)])

    async def test_a_permit_counts_until_its_window_has_passed_since_the_call_ended(self, limiter: Limiter) -> None:
        demand = self.rate(2)
        await spend(limiter, demand)  # no round trip is shorter
        await self.sleep(10 + self.late)
        permit = await granted(limiter, self.rate(2, cost=2))
        await self.sleep(3)
        limiter.done(permit, Observation())
        await self.sleep(10 - self.late)
        await refused(limiter, demand)
        await self.sleep(2 * self.late)
        await granted(limiter, demand)

    async def test_a_call_under_way_counts_however_long_it_takes(self, limiter: Limiter) -> None:
        demand = self.rate(1)
        await granted(limiter, demand)
        await self.sleep(25)
        await refused(limiter, demand)

    async def test_concurrency_counts_until_the_permit_is_given_back(self, limiter: Limiter) -> None:
        demand = self.calls(1)
        permit = await granted(limiter, demand)
        await self.sleep(25)
        await refused(limiter, demand)
        limiter.done(permit, Observation())
        await granted(limiter, demand)

    async def test_a_refused_reserve_does_not_wait(self, limiter: Limiter, clock: Clock) -> None:
        await granted(limiter, self.rate(1))
        before = clock.now()
        await refused(limiter, self.rate(1))
        assert clock.now() - before < self.late * self.second

    async def test_the_wait_that_a_refusal_tells_is_exact(self, limiter: Limiter) -> None:
        for _ in range(3):
            await spend(limiter, self.rate(3))
            await self.sleep(0.7)
        demand = self.rate(3, cost=2)
        refusal = await refused(limiter, demand)
        assert refusal.retry_after is not None
        assert refusal.retry_after == pytest.approx(8.6 * self.second, abs=self.late * self.second)
        await anyio.sleep(refusal.retry_after - self.late * self.second)
        await refused(limiter, demand)
        await self.sleep(2 * self.late)
        await granted(limiter, demand)

    async def test_the_longest_wait_is_told(self, limiter: Limiter) -> None:
        short, long = self.rate(1, per=2), self.rate(1, per=8)
        await spend(limiter, short, long)
        refusal = await refused(limiter, short, long)
        assert refusal.demand == long
        assert refusal.retry_after == pytest.approx(8 * self.second, abs=self.late * self.second)

    async def test_no_wait_is_told_where_it_depends_on_a_call_under_way(self, limiter: Limiter) -> None:
        rate, calls = self.rate(1), self.calls(1)
        await granted(limiter, calls)
        assert (await refused(limiter, calls)).retry_after is None
        await granted(limiter, rate)
        assert (await refused(limiter, rate)).retry_after is None

    @pytest.mark.parametrize("kind", ["rate", "calls"])
    async def test_a_cost_above_the_limit_is_an_error(self, limiter: Limiter, clock: Clock, kind: str) -> None:
        fits, too_much = (self.rate(2), self.rate(2, cost=3)) if kind == "rate" else (self.calls(2), self.calls(2, 3))
        before = clock.now()
        with pytest.raises(CostAboveLimit):
            await limiter.reserve([self.rate(9), too_much])
        with pytest.raises(CostAboveLimit):
            await limiter.acquire([self.rate(9), too_much])
        assert clock.now() - before < self.late * self.second
        for _ in range(2):
            await granted(limiter, fits)
        await granted(limiter, self.rate(9, cost=9))

    async def test_a_refund_makes_everything_free_at_once(self, limiter: Limiter) -> None:
        demands = (self.rate(2, cost=2), self.calls(1))
        limiter.refund(await granted(limiter, *demands))
        await granted(limiter, *demands)

    @pytest.mark.parametrize("second", ["done", "refund"])
    @pytest.mark.parametrize("first", ["done", "refund"])
    async def test_a_permit_ends_once(self, limiter: Limiter, first: str, second: str) -> None:
        """A second end changes nothing; it may be an error."""
        rate, calls = self.rate(5), self.calls(2)
        permit = await granted(limiter, rate, calls)
        await granted(limiter, calls)
        self.end(limiter, permit, first)
        with suppress(LimiterError):
            self.end(limiter, permit, second)
        await granted(limiter, calls)
        await refused(limiter, calls)
        (use,) = await limiter.snapshot([rate])
        assert use.used == (1 if first == "done" else 0)

    async def test_a_throttled_call_holds_every_scope_of_its_connection(self, limiter: Limiter) -> None:
        demands = [self.rate(9, scope=scope) for scope in (ADA, CONTACTS, DEALS)]
        self.throttle(limiter, await granted(limiter, self.rate(9, scope=PROVIDER), demands[1]), retry_after=5)
        for demand in demands:
            refusal = await refused(limiter, demand)
            assert refusal.retry_after == pytest.approx(5 * self.second, abs=self.late * self.second)
        await self.sleep(5 - self.late)
        for demand in demands:
            await refused(limiter, demand)
        await self.sleep(2 * self.late)
        for demand in demands:
            await granted(limiter, demand)

    async def test_a_throttled_call_holds_no_other_connection(self, limiter: Limiter) -> None:
        shared = self.rate(9, scope=PROVIDER)
        self.throttle(limiter, await granted(limiter, shared, self.rate(9)), retry_after=5)
        await granted(limiter, shared, self.rate(9, scope=BOB))

    async def test_a_shorter_hold_does_not_end_a_longer_one(self, limiter: Limiter) -> None:
        permits = [await granted(limiter, self.rate(9)) for _ in range(2)]
        self.throttle(limiter, permits[0], retry_after=5)
        self.throttle(limiter, permits[1], retry_after=1)
        await self.sleep(2)
        await refused(limiter, self.rate(9))

    async def test_a_call_that_went_well_holds_nothing(self, limiter: Limiter) -> None:
        permit = await granted(limiter, self.rate(9))
        limiter.done(permit, Observation(throttled=False, retry_after=5 * self.second))
        await granted(limiter, self.rate(9))

    async def test_usage_tells_what_is_used(self, limiter: Limiter) -> None:
        rate, calls = self.rate(5), self.calls(5)
        await spend(limiter, self.rate(5, cost=2), calls)
        await granted(limiter, rate, calls)
        uses = await limiter.snapshot([rate, calls, self.rate(5, scope=BOB)])
        assert [use.used for use in uses] == [3, 1, 0]
        assert [use.demand for use in uses] == [rate, calls, self.rate(5, scope=BOB)]

    async def test_usage_tells_when_the_next_permit_is_free(self, limiter: Limiter, clock: Clock) -> None:
        rate, calls = self.rate(2), self.calls(1)
        for use in await limiter.snapshot([rate, calls]):
            assert use.next_free_at is not None
            assert use.next_free_at <= clock.now()
        await spend(limiter, rate)
        spent_at = clock.now()
        await granted(limiter, rate, calls)
        rate_use, calls_use = await limiter.snapshot([rate, calls])
        assert rate_use.next_free_at == pytest.approx(spent_at + 10 * self.second, abs=self.late * self.second)
        assert calls_use.next_free_at is None

    async def test_usage_takes_nothing(self, limiter: Limiter) -> None:
        await limiter.snapshot([self.rate(1), self.calls(1)])
        await granted(limiter, self.rate(1), self.calls(1))

    async def test_what_was_used_is_forgotten_after_its_window(self, limiter: Limiter) -> None:
        await spend(limiter, self.rate(5))
        await self.sleep(10 + self.late)
        (use,) = await limiter.snapshot([self.rate(5)])
        assert use.used == 0

    @pytest.mark.parametrize("seed", range(5))
    async def test_a_strict_provider_never_counts_too_much(self, limiter: Limiter, clock: Clock, seed: int) -> None:
        """Twenty callers, several quotas and costs, calls that take their time and are counted at any moment of it."""
        source = random.Random(seed)
        provider = StrictProvider(self.slack)
        await self.cold_call(limiter)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(self.call_often, limiter, clock, provider, random.Random(source.random()))
        assert provider.overfull == []

    async def cold_call(self, limiter: Limiter) -> None:
        """No time is surely spent on the way: a call that takes none has been seen at every scope."""
        for demands in self.mixes():
            await spend(limiter, *demands)

    def mixes(self, cost: int = 1) -> Sequence[Sequence[Demand]]:
        """Demands as different calls have them."""
        shared = [self.rate(20, per=3, cost=cost, scope=PROVIDER), self.calls(8, scope=PROVIDER)]
        return [
            [*shared, self.rate(7, per=1, cost=cost), self.calls(3)],
            [*shared, self.rate(5, per=0.5, cost=cost, scope=BOB)],
            [*shared, self.rate(7, per=1, cost=cost), self.rate(4, per=2, cost=cost, scope=CONTACTS)],
        ]

    async def call_often(self, limiter: Limiter, clock: Clock, provider: StrictProvider, source: random.Random) -> None:
        """What one caller does."""
        for _ in range(8):
            demands = source.choice(self.mixes(cost=source.choice([1, 1, 1, 2, 4])))
            permit = await limiter.acquire(demands)
            provider.begin(demands)
            there, back = (source.choice([0.0, source.random() / 2]) for _ in range(2))
            await self.sleep(there)
            provider.count(demands, clock.now())
            await self.sleep(back)
            provider.end(demands)
            limiter.done(permit, Observation())
