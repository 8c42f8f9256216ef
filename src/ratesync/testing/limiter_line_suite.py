"""The part of the limiters' conformance suite that is about waiting."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from ratesync.clock import Clock, SystemClock
from ratesync.errors import PermitTimeout
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Scope
from ratesync.protocols import Limiter
from ratesync.testing.limiter_callers import Callers, calling, granted, refused, spend
from ratesync.testing.suite import Suite

PROVIDER = Scope("acme")
ADA = Scope("acme", "ada")
BOB = Scope("acme", "bob")
CONTACTS = Scope("acme", "ada", "contacts")
DEALS = Scope("acme", "ada", "deals")


class LimiterLineSuite(Suite):
    """Those who wait in ``acquire``. Part of :class:`ratesync.testing.limiter_suite.LimiterSuite`."""

    pytestmark = pytest.mark.anyio

    second = 1.0
    """Length of the suite's unit of time, in seconds. The longest test passes some 30 units."""
    late = 0.05
    """Units of time by which a permit may come late."""
    moment = 0.01
    """Seconds after which the limiter has surely noticed a call; more where a network lies between."""
    slack = 1e-6
    """Seconds by which the limiter's clock and the suite's may differ."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the limiter uses."""
        return SystemClock()

    def rate(self, permits: int, *, per: float = 10, cost: int = 1, scope: Scope = ADA) -> Demand:
        """A demand for ``cost`` of the permits in ``per`` units of time."""
        return Demand(scope, Rate(permits, per=per * self.second), cost)

    def calls(self, permits: int, cost: int = 1, *, scope: Scope = ADA) -> Demand:
        """A demand for ``cost`` of the permits of calls at the same time."""
        return Demand(scope, Concurrency(permits), cost)

    async def sleep(self, units: float) -> None:
        """Let units of time pass."""
        await anyio.sleep(units * self.second)

    def end(self, limiter: Limiter, permit: Permit, how: str) -> None:
        """Give a permit back by ``done`` or ``refund``."""
        if how == "done":
            limiter.done(permit, Observation())
        else:
            limiter.refund(permit)

    def throttle(self, limiter: Limiter, permit: Permit, *, retry_after: float) -> None:
        """The provider refused the call and asked to be left alone for so many units of time."""
        limiter.done(permit, Observation(throttled=True, retry_after=retry_after * self.second))

    def calling(self, limiter: Limiter, clock: Clock) -> AbstractAsyncContextManager[Callers]:
        """Callers of ``acquire`` for a block."""
        return calling(limiter, clock, self.moment)

    async def test_acquire_grants_what_is_free_at_once(self, limiter: Limiter, clock: Clock) -> None:
        before = clock.now()
        permit = await limiter.acquire([self.rate(1), self.calls(1)])
        assert clock.now() - before < self.late * self.second
        assert tuple(permit.demands) == (self.rate(1), self.calls(1))
        await refused(limiter, self.calls(1))

    async def test_acquire_waits_until_the_window_has_passed(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(1))
        spent_at = clock.now()
        permit = await limiter.acquire([self.rate(1)])
        assert clock.now() == pytest.approx(spent_at + 10 * self.second, abs=self.late * self.second)
        assert spent_at + 10 * self.second - self.slack <= permit.granted_at <= clock.now()
        await refused(limiter, self.rate(1))

    @pytest.mark.parametrize("how", ["done", "refund"])
    async def test_acquire_waits_until_a_call_gives_its_permit_back(
        self, limiter: Limiter, clock: Clock, how: str
    ) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.calls(1))
            await self.sleep(3)
            assert callers.served == []
            self.end(limiter, permit, how)
            await anyio.sleep(self.moment)
            assert callers.served == ["ada"]
            await refused(limiter, self.calls(1))

    async def test_a_refund_serves_those_who_wait_for_a_rate(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(2))
        permit = await granted(limiter, self.rate(2))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.rate(2))
            limiter.refund(permit)
            await anyio.sleep(self.moment)
            assert callers.served == ["ada"]

    async def test_the_end_of_a_call_starts_the_wait_for_its_window(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(1))
        await self.sleep(10 + self.late)
        permit = await granted(limiter, self.rate(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.rate(1))
            await self.sleep(3)
            limiter.done(permit, Observation())
            ended_at = clock.now()
            await self.sleep(10 + 2 * self.late)
            assert callers.served_at["ada"] == pytest.approx(ended_at + 10 * self.second, abs=self.late * self.second)

    async def test_first_come_first_served(self, limiter: Limiter, clock: Clock) -> None:
        names = [str(number) for number in range(12)]
        await spend(limiter, self.rate(3, cost=3))
        async with self.calling(limiter, clock) as callers:
            for name in names:
                await callers.line_up(name, self.rate(3))
            for served in (3, 6, 9, 12):
                await self.sleep(10 + self.late)
                assert sorted(callers.served, key=int) == names[:served]  # an event loop may shuffle equals
                for name in names[served - 3 : served]:
                    callers.end(name)

    async def test_first_come_first_served_under_concurrency(self, limiter: Limiter, clock: Clock) -> None:
        permits = [await granted(limiter, self.calls(3)) for _ in range(3)]
        async with self.calling(limiter, clock) as callers:
            for name in "abcdef":
                await callers.line_up(name, self.calls(3))
            for permit in permits:
                limiter.done(permit, Observation())
            await anyio.sleep(self.moment)
            assert sorted(callers.served) == ["a", "b", "c"]
            callers.end("b")
            await anyio.sleep(self.moment)
            assert callers.served[3:] == ["d"]

    async def test_small_costs_do_not_pass_a_big_one(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(4))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("big", self.rate(4, cost=4))
            await callers.line_up("small", self.rate(4))
            await self.sleep(9)
            assert callers.served == []
            await self.sleep(1 + self.late)
            assert callers.served == ["big"]

    async def test_those_who_wait_come_before_reserve(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(4))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("big", self.rate(4, cost=4))
            await refused(limiter, self.rate(4))
            await self.sleep(10 + self.late)
            assert callers.served == ["big"]

    async def test_who_wants_other_quotas_need_not_wait(self, limiter: Limiter, clock: Clock) -> None:
        await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.calls(1), self.rate(1))
            await callers.line_up("bob", self.calls(1, scope=BOB), self.rate(1, scope=BOB))
            assert callers.served == ["bob"]
            await granted(limiter, self.calls(1, scope=CONTACTS))

    async def test_a_place_in_line_counts_for_every_quota(self, limiter: Limiter, clock: Clock) -> None:
        """The second waits behind the first for one quota, so the third waits behind the second for the other."""
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("first", self.calls(1))
            await callers.line_up("second", self.calls(1), self.rate(1))
            await callers.line_up("third", self.rate(1))
            assert (await refused(limiter, self.rate(1))).retry_after != 0
            limiter.done(permit, Observation())
            await anyio.sleep(self.moment)
            assert callers.served == ["first"]
            callers.end("first")
            await anyio.sleep(self.moment)
            assert callers.served == ["first", "second"]
            limiter.refund(callers.permits["second"])
            await anyio.sleep(self.moment)
            assert callers.served == ["first", "second", "third"]

    async def test_nobody_passes_in_one_line_who_is_first_in_another(self, limiter: Limiter, clock: Clock) -> None:
        permits = [await granted(limiter, self.calls(1, scope=scope)) for scope in (ADA, BOB)]
        shared = self.rate(1, scope=PROVIDER)
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("first", self.calls(1, scope=ADA), shared)
            await callers.line_up("second", self.calls(1, scope=BOB), shared)
            limiter.done(permits[1], Observation())
            await anyio.sleep(self.moment)
            assert callers.served == []
            limiter.done(permits[0], Observation())
            await anyio.sleep(self.moment)
            assert callers.served == ["first"]

    async def test_a_permit_for_one_lets_on_those_behind_in_other_lines(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("first", self.calls(1), self.rate(2))
            await callers.line_up("second", self.rate(2))
            limiter.done(permit, Observation())
            await anyio.sleep(self.moment)
            assert sorted(callers.served) == ["first", "second"]

    async def test_who_waits_holds_nothing(self, limiter: Limiter, clock: Clock) -> None:
        await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.rate(2, scope=PROVIDER), self.calls(1))
            (use,) = await limiter.snapshot([self.rate(2, scope=PROVIDER)])
            assert use.used == 0

    async def test_who_gives_up_leaves_the_line(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("a", self.calls(1))
            b, c = [await callers.line_up(name, self.calls(1)) for name in "bc"]
            await callers.line_up("d", self.calls(1))
            b.cancel()
            c.cancel()
            limiter.done(permit, Observation())
            await anyio.sleep(self.moment)
            callers.end("a")
            await anyio.sleep(self.moment)
            assert callers.served == ["a", "d"]

    async def test_who_gives_up_lets_the_next_one_on(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(4))
        async with self.calling(limiter, clock) as callers:
            big = await callers.line_up("big", self.rate(4, cost=4))
            await callers.line_up("small", self.rate(4))
            big.cancel()
            await anyio.sleep(self.moment)
            assert callers.served == ["small"]
            await granted(limiter, self.rate(4))

    @pytest.mark.parametrize("how", ["done", "refund"])
    @pytest.mark.parametrize("first", ["permit", "cancellation"])
    async def test_giving_up_as_the_permit_comes_loses_nothing(
        self, limiter: Limiter, clock: Clock, how: str, first: str
    ) -> None:
        permit = await granted(limiter, self.rate(2), self.calls(1))
        async with self.calling(limiter, clock) as callers:
            ada = await callers.line_up("ada", self.rate(2), self.calls(1))
            if first == "cancellation":
                ada.cancel()
            self.end(limiter, permit, how)
            ada.cancel()
            await anyio.sleep(self.moment)
            for name in callers.served:  # the permit may have been faster
                limiter.refund(callers.permits[name])
            await granted(limiter, self.rate(2), self.calls(1))

    async def test_many_who_give_up_leave_nothing_behind(self, limiter: Limiter, clock: Clock) -> None:
        demands = [self.rate(50, per=20), self.calls(50)]
        await spend(limiter, self.rate(50, per=20, cost=50))
        async with self.calling(limiter, clock) as callers:
            scopes = [await callers.line_up(str(number), *demands) for number in range(100)]
            await self.sleep(10)
            for number, scope in enumerate(scopes):
                if number % 3:
                    scope.cancel()
            await self.sleep(10 + self.late)
            assert sorted(callers.served, key=int) == [str(number) for number in range(0, 100, 3)]
            for permit in callers.permits.values():
                limiter.refund(permit)
        assert [use.used for use in await limiter.snapshot(demands)] == [0, 0]

    async def test_a_deadline_that_has_passed_is_an_error(self, limiter: Limiter, clock: Clock) -> None:
        with pytest.raises(PermitTimeout):
            await limiter.acquire([self.rate(1)], deadline=clock.now() - self.second)
        await granted(limiter, self.rate(1))

    async def test_a_deadline_that_is_sure_to_pass_is_an_error_at_once(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(1))
        before = clock.now()
        with pytest.raises(PermitTimeout) as error:
            await limiter.acquire([self.rate(1)], deadline=before + 9 * self.second)
        assert clock.now() - before < self.late * self.second
        assert error.value.retry_after == pytest.approx(10 * self.second, abs=self.late * self.second)

    async def test_a_deadline_that_passes_is_an_error_then(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        before = clock.now()
        with pytest.raises(PermitTimeout) as error:
            await limiter.acquire([self.calls(1), self.rate(1)], deadline=before + 4 * self.second)
        assert clock.now() == pytest.approx(before + 4 * self.second, abs=self.late * self.second)
        assert error.value.retry_after is None
        limiter.done(permit, Observation())
        await granted(limiter, self.calls(1), self.rate(1))

    async def test_who_has_passed_the_deadline_lets_the_next_one_on(self, limiter: Limiter, clock: Clock) -> None:
        await granted(limiter, self.calls(4))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("big", self.calls(4, cost=4), deadline=clock.now() + 2 * self.second)
            await callers.line_up("small", self.calls(4))
            await self.sleep(2 + self.late)
            assert list(callers.refused) == ["big"]
            assert callers.served == ["small"]

    async def test_a_permit_before_the_deadline_is_granted(self, limiter: Limiter, clock: Clock) -> None:
        await spend(limiter, self.rate(1))
        await limiter.acquire([self.rate(1)], deadline=clock.now() + 11 * self.second)

    async def test_a_hold_keeps_those_who_wait_waiting(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.calls(1))
            self.throttle(limiter, permit, retry_after=5)
            await self.sleep(5 - self.late)
            assert callers.served == []
            await self.sleep(2 * self.late)
            assert callers.served == ["ada"]

    async def test_a_hold_beyond_the_deadline_is_an_error_at_once(self, limiter: Limiter, clock: Clock) -> None:
        permit = await granted(limiter, self.calls(1))
        async with self.calling(limiter, clock) as callers:
            await callers.line_up("ada", self.calls(1), deadline=clock.now() + 4 * self.second)
            await callers.line_up("bob", self.calls(1))
            await callers.line_up("eve", self.calls(1), deadline=clock.now() + 4 * self.second)
            self.throttle(limiter, permit, retry_after=5)
            await anyio.sleep(self.moment)
            assert sorted(callers.refused) == ["ada", "eve"]

    async def test_no_permit_idles_while_somebody_waits(self, limiter: Limiter, clock: Clock) -> None:
        """Thirty calls that end at once, under three in ten units of time, take nine windows and not more."""
        started_at = clock.now()
        for _ in range(30):
            permit = await limiter.acquire([self.rate(3, per=3), self.calls(2)])
            limiter.done(permit, Observation())
        assert clock.now() - started_at == pytest.approx(27 * self.second, abs=9 * self.late * self.second)
