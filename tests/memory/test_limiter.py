from __future__ import annotations

import random
from collections.abc import Callable

import anyio
import pytest
from typing_extensions import override

from ratesync.clock import Clock
from ratesync.errors import LimiterError
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Scope
from ratesync.testing.cancellation import CheckpointCanceller, Moment, run_with_cancellation_at
from ratesync.testing.limiter_callers import StrictProvider, calling, granted, refused, spend
from ratesync.testing.limiter_suite import LimiterSuite
from ratesync.testing.virtual_time import Backend, VirtualClock, run_virtual, virtual_backend_options

ACME, ADA = Scope("acme"), Scope("acme", "ada")
CALL = Demand(ADA, Concurrency(1))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return virtual_backend_options(request.param)


class TestMemoryLimiter(LimiterSuite):
    late = 0.002
    moment = 1e-4

    @override
    @pytest.fixture
    def clock(self) -> Clock:
        return VirtualClock()

    @pytest.fixture
    def limiter(self, clock: Clock) -> MemoryLimiter:
        return MemoryLimiter(clock=clock, cold_start=False)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def limiter(clock: VirtualClock) -> MemoryLimiter:
    return MemoryLimiter(clock=clock, cold_start=False)


def rate(permits: int, cost: int = 1, *, scope: Scope = ADA) -> Demand:
    return Demand(scope, Rate(permits, per=10), cost)


@pytest.mark.anyio
@pytest.mark.parametrize("cost", [0, -1])
async def test_a_cost_below_one_is_an_error(limiter: MemoryLimiter, cost: int) -> None:
    with pytest.raises(ValueError, match=f"acme/ada: a cost of {cost}"):
        await limiter.reserve([rate(5, cost)])
    with pytest.raises(ValueError, match=f"acme/ada: a cost of {cost}"):
        await limiter.acquire([rate(5, cost)])


@pytest.mark.anyio
async def test_a_call_without_demands_is_always_granted(limiter: MemoryLimiter) -> None:
    limiter.done(await granted(limiter), Observation())
    limiter.refund(await limiter.acquire([]))


@pytest.mark.anyio
async def test_ending_a_permit_twice_is_an_error(limiter: MemoryLimiter) -> None:
    permit = await granted(limiter, CALL)
    limiter.done(permit, Observation())
    with pytest.raises(LimiterError, match="Permit 1 is not in use"):
        limiter.done(permit, Observation())
    with pytest.raises(LimiterError, match="Permit 1 is not in use"):
        limiter.refund(permit)


@pytest.mark.anyio
async def test_an_ended_permit_is_forgotten(limiter: MemoryLimiter) -> None:
    permit = await granted(limiter, CALL)
    granted_now = limiter._grants._granted  # pyright: ignore[reportPrivateUsage]
    assert len(granted_now) == 1
    limiter.done(permit, Observation())
    assert not granted_now


@pytest.mark.anyio
async def test_a_permit_of_another_limiter_is_an_error(limiter: MemoryLimiter, clock: VirtualClock) -> None:
    foreign = await granted(MemoryLimiter(clock=clock, cold_start=False), CALL)
    await granted(limiter, CALL)
    with pytest.raises(LimiterError, match="Permit 1 is not in use"):
        limiter.refund(foreign)
    await refused(limiter, CALL)


@pytest.mark.anyio
async def test_a_throttled_call_without_a_wait_holds_nothing(limiter: MemoryLimiter) -> None:
    limiter.done(await granted(limiter, rate(5)), Observation(throttled=True))
    await granted(limiter, rate(5))


@pytest.mark.anyio
async def test_a_throttled_call_that_names_no_connection_holds_nothing(limiter: MemoryLimiter) -> None:
    demand = rate(5, scope=ACME)
    limiter.done(await granted(limiter, demand), Observation(throttled=True, retry_after=9))
    await granted(limiter, demand)


@pytest.mark.anyio
async def test_what_is_used_stays_used_when_an_engine_leaves(limiter: MemoryLimiter) -> None:
    await limiter.open()
    await spend(limiter, rate(1))
    await limiter.close()
    await limiter.open()
    await refused(limiter, rate(1))


@pytest.mark.anyio
async def test_usage_tells_of_a_hold(limiter: MemoryLimiter, clock: VirtualClock) -> None:
    limiter.done(await granted(limiter, CALL), Observation(throttled=True, retry_after=9))
    uses = await limiter.snapshot([CALL, rate(5)])
    assert [use.next_free_at for use in uses] == [clock.now() + 9] * 2


@pytest.mark.anyio
async def test_a_refusal_counts_those_who_wait(limiter: MemoryLimiter, clock: VirtualClock) -> None:
    for _ in range(4):
        await spend(limiter, rate(4))
        await anyio.sleep(1)
    async with calling(limiter, clock, 2**-10) as callers:
        await callers.line_up("ada", rate(4))
        bob = await callers.line_up("bob", rate(4))
        assert (await refused(limiter, rate(4))).retry_after == pytest.approx(8, abs=0.01)
        bob.cancel()
        await anyio.sleep(2**-10)
        assert (await refused(limiter, rate(4))).retry_after == pytest.approx(7, abs=0.01)


@pytest.mark.anyio
async def test_a_refusal_tells_no_wait_where_those_in_line_wait_for_a_call_elsewhere(
    limiter: MemoryLimiter, clock: VirtualClock
) -> None:
    await granted(limiter, CALL)
    shared = Demand(ACME, Concurrency(2))
    async with calling(limiter, clock, 2**-10) as callers:
        await callers.line_up("ada", CALL, shared)
        await callers.line_up("bob", shared, rate(4))
        assert (await refused(limiter, shared)).retry_after is None
        assert (await refused(limiter, rate(4))).retry_after is None


class LeapingClock(VirtualClock):
    """Is ahead of the timers, as after the event loop has hung."""

    ahead = 0.0

    @override
    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.anyio
async def test_reserve_serves_those_whose_timer_is_late() -> None:
    clock = LeapingClock()
    limiter = MemoryLimiter(clock=clock, cold_start=False)
    await spend(limiter, rate(2, 2))
    async with calling(limiter, clock, 2**-10) as callers:
        await callers.line_up("ada", rate(2))
        clock.ahead = 11
        await granted(limiter, rate(2))
        await refused(limiter, rate(2))
        await anyio.sleep(2**-10)
        assert callers.served == ["ada"]


def far_off(source: random.Random) -> float:
    """Seconds for one way over a wide area network."""
    return 0.015 + min(0.045, source.expovariate(200))


def nearby(source: random.Random) -> float:
    """Seconds for one way over a local network."""
    return 0.0003 + source.expovariate(2_000)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("way", "quota", "windows", "share"),
    [
        (nearby, Rate(100, per=1), 100, 0.99),
        (far_off, Rate(100, per=1), 100, 0.98),
        (far_off, Rate(190, per=10), 100, 0.99),
        (far_off, Rate(5_000, per=10), 5, 0.8),
    ],
)
def test_a_quota_is_used_up_and_never_exceeded(
    way: Callable[[random.Random], float], quota: Rate, windows: int, share: float, backend: Backend
) -> None:
    """Two hundred callers against a strict sliding window; those above 2,000 permits are counted in sub-windows."""
    clock, provider, source = VirtualClock(), StrictProvider(), random.Random(7)
    limiter = MemoryLimiter(clock=clock, cold_start=False)
    demands = [Demand(ADA, quota), Demand(ADA, Concurrency(200))]
    counted = 0

    async def call_for_ever() -> None:
        nonlocal counted
        while True:
            permit = await limiter.acquire(demands)
            await anyio.sleep(way(source))
            provider.count(demands, clock.now())
            counted += 1
            await anyio.sleep(way(source))
            limiter.done(permit, Observation())

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(call_for_ever)
            await anyio.sleep(windows * quota.per)
            tasks.cancel_scope.cancel()

    run_virtual(run, backend=backend)
    assert provider.overfull == []
    assert counted >= share * quota.permits * windows


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["waiting", "resuming"])
def test_a_cancellation_at_any_checkpoint_gives_everything_back(moment: Moment, backend: Backend) -> None:
    demands = [rate(2), CALL, rate(4, 2, scope=ACME)]

    async def program(limiter: MemoryLimiter, held: list[Permit]) -> None:
        async def call(number: int) -> None:
            permit = await limiter.acquire(demands if number % 2 else demands[:2])
            held.append(permit)
            await anyio.sleep(1)
            held.remove(permit)
            if number == 3:
                limiter.refund(permit)
            else:
                limiter.done(permit, Observation())

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(call, number)

    async def run(at: int) -> bool:
        limiter, held = MemoryLimiter(clock=VirtualClock(), cold_start=False), list[Permit]()
        reached = await run_with_cancellation_at(at, program, limiter, held, moment=moment)
        for permit in held:
            limiter.refund(permit)
        await anyio.sleep(11)
        assert [use.used for use in await limiter.snapshot(demands)] == [0, 0, 0]
        await granted(limiter, rate(2, 2), CALL, rate(4, 4, scope=ACME))
        return reached

    at = 1
    while run_virtual(run, at, backend=backend):
        at += 1
    assert at > 10


KEPT = Demand(ADA, Concurrency(2, reserve=0.5))
OTHER = Demand(Scope("acme"), Concurrency(1))
MOMENT = 0.01
LONGER_THAN_A_STEP = 70.0
"""Seconds for which somebody comes before a caller of the next priority."""


@pytest.mark.anyio
async def test_a_privileged_caller_goes_as_soon_as_who_comes_first_lacks_only_kept_permits(
    limiter: MemoryLimiter,
) -> None:
    """The permit that decides it comes back where the privileged caller is not in line."""
    await granted(limiter, KEPT)
    elsewhere = await granted(limiter, OTHER)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.acquire, [KEPT, OTHER])
        await anyio.sleep(70)  # longer than a step of priority is worth
        served = list[Permit]()

        async def privileged() -> None:
            served.append(await limiter.acquire([KEPT], priority=1))

        tasks.start_soon(privileged)
        await anyio.sleep(1)
        assert not served
        limiter.done(elsewhere, Observation())
        await anyio.sleep(1)
        assert served
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_privileged_caller_sleeps_while_who_comes_first_waits_behind_somebody_elsewhere(
    limiter: MemoryLimiter,
) -> None:
    """All that the first one wants is free, so it lacks nothing that is kept from it, and is not to be passed."""
    middle = Demand(Scope("acme", "bob"), Concurrency(1))
    elsewhere = await granted(limiter, OTHER)
    async with CheckpointCanceller(500) as watch, calling(limiter, VirtualClock(), MOMENT) as callers:
        await callers.line_up("elsewhere", middle, OTHER)
        await callers.line_up("first", KEPT, middle)
        await anyio.sleep(LONGER_THAN_A_STEP)
        await callers.line_up("privileged", KEPT, priority=1)
        begun = watch.count
        await anyio.sleep(1000)
        assert watch.count - begun < 10
        assert callers.served == []
        limiter.done(elsewhere, Observation())
        await anyio.sleep(1)
        assert callers.served == ["elsewhere"]
        callers.end("elsewhere")
        await anyio.sleep(1)
        assert callers.permits["first"].id < callers.permits["privileged"].id
    assert not watch.reached


@pytest.mark.anyio
async def test_who_leaves_the_line_is_told_of_nothing_any_more(limiter: MemoryLimiter) -> None:
    await granted(limiter, KEPT)
    elsewhere = await granted(limiter, OTHER)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.acquire, [KEPT, OTHER])
        await anyio.sleep(70)
        with anyio.move_on_after(1):
            await limiter.acquire([KEPT], priority=1)
        limiter.done(elsewhere, Observation())
        await granted(limiter, KEPT, priority=1)
        tasks.cancel_scope.cancel()
