"""On the real aiolimiter, in the virtual time of asyncio."""

from __future__ import annotations

import math
import subprocess
import sys

import anyio
import pytest

from ratesync.errors import ConfigurationError, CostAboveLimit, LimiterError, PermitTimeout
from ratesync.memory.leaky_bucket import LeakyBuckets
from ratesync.memory.smoothing import SmoothingLimiter
from ratesync.model.quota import Concurrency, Demand, LeakyBucket, Observation, Rate, Scope
from ratesync.protocols import Limiter
from ratesync.testing.limiter_callers import calling, granted, refused, spend
from ratesync.testing.virtual_time import VirtualClock, run_virtual, virtual_backend_options

pytestmark = pytest.mark.anyio

ACME, ADA, BOB = Scope("acme"), Scope("acme", "ada"), Scope("acme", "bob")
CONTACTS = Scope("acme", "ada", "contacts")
MOMENT = 2**-10
THROTTLED = Observation(throttled=True, retry_after=5)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return virtual_backend_options("asyncio")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def limiter(clock: VirtualClock) -> SmoothingLimiter:
    """Four a second, one at a time."""
    return SmoothingLimiter(4, clock=clock)


def rate(cost: int = 1, *, scope: Scope = ADA) -> Demand:
    return Demand(scope, Rate(100, per=1), cost)


def calls(permits: int, *, scope: Scope = ADA) -> Demand:
    return Demand(scope, Concurrency(permits))


async def test_it_keeps_the_protocol(limiter: SmoothingLimiter) -> None:
    assert isinstance(limiter, Limiter)
    await limiter.open()
    await limiter.close()


async def test_calls_come_evenly(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    started_at, granted_at = clock.now(), list[float]()
    for _ in range(9):
        permit = await limiter.acquire([rate()])
        granted_at.append(permit.granted_at - started_at)
        limiter.done(permit, Observation())
    assert granted_at == pytest.approx([number / 4 for number in range(9)], abs=1e-6)


async def test_an_empty_bucket_lets_a_burst_through(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(4, burst=3, clock=clock)
    for _ in range(3):
        await spend(limiter, rate())
    await refused(limiter, rate())
    await anyio.sleep(0.25)
    await spend(limiter, rate())
    await refused(limiter, rate())


async def test_the_wait_that_a_refusal_tells_is_exact(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(3, per=7, burst=2, clock=clock)
    await spend(limiter, rate(2))
    await anyio.sleep(0.3)
    refusal = await refused(limiter, rate(2))
    assert refusal.retry_after is not None
    assert refusal.retry_after == pytest.approx(14 / 3 - 0.3, abs=1e-6)
    await anyio.sleep(refusal.retry_after - 0.01)
    await refused(limiter, rate(2))
    await anyio.sleep(0.01)
    await granted(limiter, rate(2))


async def test_a_refusal_stands_for_the_whole_connection(limiter: SmoothingLimiter) -> None:
    await spend(limiter, rate(scope=CONTACTS))
    refusal = await refused(limiter, rate(scope=CONTACTS))
    assert refusal.demand == Demand(ADA, Rate(1, per=0.25))


async def test_connections_have_buckets_of_their_own(limiter: SmoothingLimiter) -> None:
    for scope in (ADA, BOB, ACME, Scope("other", "ada")):
        await spend(limiter, rate(scope=scope))
    for demands in ([rate(scope=ACME), rate(scope=CONTACTS)], [calls(9)], [rate(scope=BOB)], [rate(scope=ACME)]):
        await refused(limiter, *demands)


async def test_calls_that_demand_nothing_share_a_bucket(limiter: SmoothingLimiter) -> None:
    await spend(limiter)
    refusal = await refused(limiter)
    assert refusal.retry_after == pytest.approx(0.25)


async def test_declared_rates_are_not_looked_at(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(100, burst=100, clock=clock)
    for _ in range(50):
        await spend(limiter, Demand(ADA, Rate(1, per=3_600)))


def bucket(cost: int = 1, *, scope: Scope = ADA) -> Demand:
    return Demand(scope, LeakyBucket(4, restore=2), cost)


async def test_declared_leaky_buckets_are_kept_each_by_itself(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(clock=clock)
    await spend(limiter, bucket(4))
    refusal = await refused(limiter, bucket(3), rate())
    assert refusal.demand == bucket(3)
    assert refusal.retry_after == pytest.approx(1.5)
    await spend(limiter, bucket(4, scope=BOB))
    await spend(limiter, Demand(ADA, LeakyBucket(40, restore=2), 40))
    await anyio.sleep(1.5)
    await spend(limiter, bucket(3))
    with pytest.raises(CostAboveLimit):
        await limiter.reserve([bucket(5)])


async def test_declared_leaky_buckets_and_the_even_spread_are_all_kept(clock: VirtualClock) -> None:
    limiter, started_at = SmoothingLimiter(10, clock=clock), clock.now()
    for _ in range(7):
        await limiter.acquire([bucket(), rate()])
    assert clock.now() - started_at == pytest.approx((7 - 4) / 2, abs=0.01)
    full, spread = await limiter.snapshot([bucket(), rate()])
    assert (full.used, full.limit) == (4, 4)
    assert full.next_free_at == pytest.approx(clock.now() + 0.5, abs=0.01)
    assert spread.used == 1
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("in time", bucket(), deadline=clock.now() + 0.6)
        await callers.line_up("late", bucket(), deadline=clock.now() + 0.7)
        await anyio.sleep(1)
        assert callers.served == ["in time"]
        assert list(callers.refused) == ["late"]


async def test_without_a_rate_and_a_bucket_only_concurrency_and_pauses_are_kept(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(clock=clock)
    for _ in range(10):
        await spend(limiter, rate())
    (state,) = await limiter.snapshot([rate()])
    assert (state.used, state.limit) == (0, None)
    await spend(limiter, rate(), told=THROTTLED)
    assert (await refused(limiter, rate())).retry_after == pytest.approx(5)


async def test_it_is_the_wrong_tool_for_a_sliding_window(clock: VirtualClock) -> None:
    """Twice the limit comes in the first window, as the docstring says."""
    limiter, granted_in_it = SmoothingLimiter(100, burst=100, clock=clock), 0
    started_at = clock.now()
    while clock.now() < started_at + 0.99:
        limiter.done(await limiter.acquire([rate()]), Observation())
        granted_in_it += 1
    assert granted_in_it == pytest.approx(200, abs=2)


async def test_concurrency_is_kept(limiter: SmoothingLimiter) -> None:
    first = await granted(limiter, calls(1))
    await anyio.sleep(10)
    refusal = await refused(limiter, calls(1))
    assert (refusal.demand, refusal.retry_after) == (calls(1), None)
    limiter.done(first, Observation())
    await granted(limiter, calls(1))


async def test_a_refusal_takes_no_concurrency(limiter: SmoothingLimiter) -> None:
    await spend(limiter, rate())
    await refused(limiter, rate(), calls(1, scope=ACME))
    await granted(limiter, rate(scope=BOB), calls(1, scope=ACME))


async def test_the_permit_tells_what_it_is_for(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    await spend(limiter, rate())
    permit = await limiter.acquire([rate(), calls(1)])
    assert permit.demands == (rate(), calls(1))
    assert permit.granted_at == clock.now()


async def test_first_come_first_served_whatever_the_cost(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(4, burst=4, clock=clock)
    await spend(limiter, rate(4))
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("small", rate())
        await callers.line_up("big", rate(4))
        await callers.line_up("late", rate())
        refusal = await refused(limiter, rate())
        assert refusal.retry_after == pytest.approx(0.75)  # three are in line, a quarter of a second each at least
        await anyio.sleep(2)
        assert callers.served == ["small", "big", "late"]
        assert callers.served_at["big"] - callers.served_at["small"] == pytest.approx(1, abs=0.01)


async def test_those_who_wait_come_before_reserve(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(4, burst=4, clock=clock)
    await spend(limiter, rate(4))
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("big", rate(4))
        await anyio.sleep(0.5)
        await refused(limiter, rate())


async def test_who_gives_up_leaves_the_line(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    await spend(limiter, rate())
    async with calling(limiter, clock, MOMENT) as callers:
        first = await callers.line_up("first", rate(), calls(1, scope=ACME))
        await callers.line_up("second", rate())
        first.cancel()
        await anyio.sleep(0.26)
        assert callers.served == ["second"]
        await granted(limiter, rate(scope=BOB), calls(1, scope=ACME))


async def test_a_refund_gives_the_concurrency_back_but_not_the_place(limiter: SmoothingLimiter) -> None:
    permit = await granted(limiter, rate(), calls(1))
    limiter.refund(permit)
    assert (await limiter.snapshot([calls(1)]))[0].used == 0
    await refused(limiter, rate(), calls(1))


async def test_ending_a_permit_twice_is_an_error(limiter: SmoothingLimiter) -> None:
    permit = await granted(limiter, calls(2))
    await anyio.sleep(1)
    await granted(limiter, calls(2))
    limiter.refund(permit)
    with pytest.raises(LimiterError, match="Permit 1 is not in use"):
        limiter.refund(permit)
    with pytest.raises(LimiterError, match="Permit 1 is not in use"):
        limiter.done(permit, Observation())
    assert (await limiter.snapshot([calls(2)]))[0].used == 1


async def test_a_pause_that_the_provider_asks_for_is_kept(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    started_at = clock.now()
    limiter.done(await granted(limiter, rate()), THROTTLED)
    assert (await refused(limiter, rate(scope=CONTACTS))).retry_after == 5
    await granted(limiter, rate(scope=BOB))
    await limiter.acquire([rate()])
    assert clock.now() - started_at == pytest.approx(5)


@pytest.mark.parametrize("observation", [Observation(throttled=True), Observation(retry_after=5)])
async def test_without_a_refusal_and_a_wait_there_is_no_pause(
    limiter: SmoothingLimiter, observation: Observation
) -> None:
    limiter.done(await granted(limiter, rate()), observation)
    await anyio.sleep(0.25)
    await granted(limiter, rate())


async def test_a_cost_above_the_burst_is_an_error(limiter: SmoothingLimiter) -> None:
    with pytest.raises(CostAboveLimit, match="above the burst of 1"):
        await limiter.reserve([rate(2)])
    with pytest.raises(CostAboveLimit, match="above the burst of 1"):
        await limiter.acquire([rate(2)])


async def test_the_largest_cost_counts(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(4, burst=4, clock=clock)
    await spend(limiter, rate(), rate(3, scope=CONTACTS), rate(2, scope=ACME))
    assert (await limiter.snapshot([rate()]))[0].used == 3


async def test_an_ended_permit_is_forgotten(limiter: SmoothingLimiter) -> None:
    permit = await granted(limiter, calls(1))
    granted_now = limiter._granted  # pyright: ignore[reportPrivateUsage]
    assert len(granted_now) == 1
    limiter.done(permit, Observation())
    assert not granted_now


async def test_a_cost_below_one_is_an_error(limiter: SmoothingLimiter) -> None:
    with pytest.raises(ValueError, match="acme/ada: a cost of 0"):
        await limiter.reserve([rate(0)])


async def test_a_deadline_that_is_sure_to_pass_is_an_error_at_once(
    limiter: SmoothingLimiter, clock: VirtualClock
) -> None:
    await spend(limiter, rate())
    now = clock.now()
    with pytest.raises(PermitTimeout) as error:
        await limiter.acquire([rate(), calls(1)], deadline=now + 0.2)
    assert clock.now() == now
    assert error.value.retry_after == pytest.approx(0.25)
    await limiter.acquire([rate(), calls(1)], deadline=now + 0.3)


async def test_a_deadline_is_sure_to_pass_wherever_in_line(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    await spend(limiter, rate())
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("first", rate())
        await callers.line_up("second", rate(), deadline=clock.now() + 0.2)
        assert list(callers.refused) == ["second"]


async def test_a_deadline_that_passes_for_want_of_concurrency_is_an_error_then(
    limiter: SmoothingLimiter, clock: VirtualClock
) -> None:
    await granted(limiter, calls(1))
    before = clock.now()
    with pytest.raises(PermitTimeout):
        await limiter.acquire([calls(1)], deadline=before + 3)
    assert clock.now() == before + 3


async def test_a_deadline_that_passes_in_line_is_an_error_then(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    await spend(limiter, rate())
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("first", rate())
        await callers.line_up("second", rate())
        await callers.line_up("third", rate(), deadline=clock.now() + 0.3)
        await anyio.sleep(0.29)
        assert list(callers.refused) == []
        await anyio.sleep(0.01)
        assert list(callers.refused) == ["third"]
        await anyio.sleep(0.2)
        assert callers.served == ["first", "second"]


async def test_usage_tells_how_full_the_bucket_is(clock: VirtualClock) -> None:
    limiter = SmoothingLimiter(4, burst=4, clock=clock)
    assert [use.used for use in await limiter.snapshot([rate(), calls(2)])] == [0, 0]
    await granted(limiter, rate(4), calls(2))
    await anyio.sleep(0.25)
    bucket, under_way = await limiter.snapshot([rate(), calls(2)])
    assert (bucket.used, under_way.used) == (3, 1)
    assert bucket.next_free_at == clock.now()
    await spend(limiter, rate())
    assert (await limiter.snapshot([rate()]))[0].next_free_at == pytest.approx(clock.now() + 0.25)


async def test_buckets_that_have_run_empty_are_dropped() -> None:
    buckets = LeakyBuckets()
    for number in range(1_000):
        buckets.sweep()
        await buckets.of(Scope("acme", str(number)), burst=1, pace=0.25).fill(1)
        await anyio.sleep(0.01)
        assert len(buckets) < 100


async def test_a_bucket_with_a_line_is_not_dropped(limiter: SmoothingLimiter, clock: VirtualClock) -> None:
    limiter.done(await granted(limiter, rate()), THROTTLED)
    async with calling(limiter, clock, MOMENT) as callers:
        await callers.line_up("ada", rate())
        await anyio.sleep(1)
        for number in range(100):
            await spend(limiter, rate(scope=Scope("acme", str(number))))
        await callers.line_up("bob", rate())
        await anyio.sleep(4)
        assert callers.served == ["ada"]
        await anyio.sleep(0.25)
        assert callers.served == ["ada", "bob"]


@pytest.mark.parametrize(
    ("max_rate", "per", "burst"),
    [
        (0, 1, 1),
        (-1, 1, 1),
        (math.nan, 1, 1),
        (math.inf, 1, 1),
        (1, 0, 1),
        (1, math.inf, 1),
        (1, 1, 0.5),
        (1, 1, math.inf),
    ],
)
def test_numbers_that_make_no_bucket_are_an_error(max_rate: float, per: float, burst: float) -> None:
    with pytest.raises(ConfigurationError, match="rate and time must be above 0, burst 1 or more"):
        SmoothingLimiter(max_rate, per, burst=burst)


def test_other_event_loops_are_refused() -> None:
    async def run() -> None:
        limiter = SmoothingLimiter(4, clock=VirtualClock())
        with pytest.raises(ConfigurationError, match="needs asyncio"):
            await limiter.open()
        with pytest.raises(ConfigurationError, match="needs asyncio"):
            await limiter.reserve([rate()])
        with pytest.raises(ConfigurationError, match="needs asyncio"):
            await limiter.acquire([rate(), calls(1)])

    run_virtual(run, backend="trio")


def test_aiolimiter_is_loaded_only_for_a_bucket() -> None:
    script = "import sys, ratesync.memory.smoothing as s; s.SmoothingLimiter(1); print('aiolimiter' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
