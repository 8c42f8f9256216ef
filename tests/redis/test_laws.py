"""Laws of the limiter on Redis for random quotas, callers and mishaps: on a real server, in virtual time."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence

import anyio
import pytest
from attrs import define, field, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratesync.clock import Clock
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Refusal, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.cancellation import Moment, run_with_cancellation_at
from ratesync.testing.limiter_callers import StrictProvider, granted
from ratesync.testing.virtual_time import Backend, VirtualClock, run_virtual
from tests.redis.virtual_server import VirtualServer, jittery, workers
from tests.servers.valkey_server import Valkey

ACME, ADA = Scope("acme"), Scope("acme", "ada")
DEAD_AFTER = 3.0
HOUR = 3_600.0
REST = 12.0
"""Seconds after which nothing counts any more, whatever happened."""
LOADED = 5.0


@define
class OffsetClock:
    """A worker's clock: it never goes back, but it may be wrong, and jump ahead."""

    inner: VirtualClock
    offset: float = 0.0

    @property
    def is_virtual(self) -> bool:
        return True

    def now(self) -> float:
        return self.inner.now() + self.offset


@frozen
class Mishap:
    """Something that goes wrong for a while."""

    kind: str
    at: float
    lasts: float
    worker: int


MISHAP = st.builds(
    Mishap,
    st.sampled_from(["flush", "away", "loses replies", "jumps ahead", "jumps back", "dies", "worker jumps"]),
    st.floats(0.2, 4).map(lambda at: round(at, 2)),
    st.sampled_from([0.05, 0.6, 1.5]),
    st.integers(0, 2),
)


@define(eq=False)
class World:
    """Callers of several workers, and the strict provider that they call."""

    server: VirtualServer
    demands: Sequence[Sequence[Demand]]
    source: random.Random
    provider: StrictProvider = field(factory=lambda: StrictProvider(1e-4))
    clocks: list[OffsetClock] = field(factory=list[OffsetClock])
    dead: set[int] = field(factory=set[int])
    served: int = 0

    async def run(self, number: int, mishaps: Sequence[Mishap]) -> None:
        prefix = f"{uuid.uuid4().hex}:"
        self.clocks = [OffsetClock(VirtualClock(), self.source.choice([0, -HOUR, HOUR])) for _ in range(number)]
        async with anyio.create_task_group() as tasks:
            limiters = list[RedisLimiter]()
            for clock in self.clocks:
                limiters += await self.open(clock, prefix)
            async with anyio.create_task_group() as callers:
                for place, limiter in enumerate(limiters):
                    for _ in range(8):
                        callers.start_soon(self.call, place, limiter, random.Random(self.source.random()))
                for mishap in mishaps:
                    tasks.start_soon(self.bring, mishap, prefix)
                await anyio.sleep(LOADED)
                callers.cancel_scope.cancel()
            await anyio.sleep(REST)
            await self.check_the_end([it for place, it in enumerate(limiters) if place not in self.dead])
            self.server.silenced.clear()
            for limiter in limiters:
                await limiter.close()

    async def open(self, clock: Clock, prefix: str) -> list[RedisLimiter]:
        client = self.server.silenceable(len(self.server.clients))
        limiter = RedisLimiter(client, prefix=prefix, cold_start=False, clock=clock, dead_after=DEAD_AFTER)
        await limiter.open()
        return [limiter]

    async def call(self, place: int, limiter: RedisLimiter, source: random.Random) -> None:
        """Call for ever, and give up now and then."""
        while True:
            demands, permit = source.choice(self.demands), None
            with anyio.move_on_after(source.choice([0.02, 0.5, 60])):
                permit = await limiter.acquire(demands, priority=source.choice([-1, 0, 0, 1]))
            if permit is None:
                continue
            if place in self.dead:
                return
            if source.random() < 0.1:
                limiter.refund(permit)
                continue
            self.provider.begin(demands)
            way = source.random() / 20  # the same there and back: the credit takes that for granted (decision 8)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(way)
                self.provider.count(demands, self.server.clock.now())
                self.served += 1
                await anyio.sleep(way)
            self.provider.end(demands)
            limiter.done(permit, Observation())

    async def bring(self, mishap: Mishap, prefix: str) -> None:
        await anyio.sleep(mishap.at)
        match mishap.kind:
            case "flush":
                self.server.flush(prefix)
            case "away":
                self.server.is_away = True
            case "loses replies":
                self.server.loses_replies = True
            case "jumps ahead":
                self.server.ahead += HOUR
            case "jumps back":
                self.server.ahead -= HOUR
            case "worker jumps":
                self.clocks[mishap.worker % len(self.clocks)].offset += HOUR
            case _:
                if len(self.clocks) > 1:
                    self.dead.add(mishap.worker % len(self.clocks))
                    self.server.silenced |= self.dead
        await anyio.sleep(mishap.lasts)
        self.server.is_away = self.server.loses_replies = False

    async def check_the_end(self, limiters: Sequence[RedisLimiter]) -> None:
        """No permit is lost: after a rest everything can be had."""
        assert self.provider.overfull == []
        for demand in {demand for demands in self.demands for demand in demands}:
            everything = Demand(demand.scope, demand.quota, getattr(demand.quota, "permits", 1))
            answer = await limiters[0].reserve([everything], priority=1)
            assert isinstance(answer, Permit), answer
            limiters[0].refund(answer)


@given(
    number=st.integers(1, 3),
    permits=st.integers(2, 40),
    cost=st.integers(1, 3),
    at_once=st.integers(3, 12),
    per=st.sampled_from([0.3, 1.0, 2.0]),
    reserve=st.sampled_from([0.0, 0.25]),
    mishaps=st.lists(MISHAP, max_size=1),
    seed=st.integers(0, 9),
)
@example(number=2, permits=2, cost=1, at_once=3, per=0.3, reserve=0.0, mishaps=[Mishap("dies", 3.0, 0.05, 0)], seed=0)
@settings(max_examples=12)
def test_no_window_is_exceeded_and_no_permit_lost_whatever_happens(
    *,
    valkey_of_module: Valkey,
    number: int,
    permits: int,
    cost: int,
    at_once: int,
    per: float,
    reserve: float,
    mishaps: list[Mishap],
    seed: int,
) -> None:
    """Cases 21, 30, 32, 36, 37: data, answers or the server are lost, clocks jump. Workers die; callers give up."""
    rate = Rate(permits + cost, per=per, reserve=reserve)
    demands = [
        [Demand(ADA, rate, cost), Demand(ADA, Concurrency(at_once, reserve=reserve))],
        [Demand(ACME, Rate(50, per=0.4)), Demand(ADA, rate)],
        [Demand(ADA, Concurrency(at_once, reserve=reserve))],
    ]
    server = VirtualServer(valkey_of_module.port, VirtualClock(), jittery(0.0001, 0.004, seed))
    try:
        world = World(server, demands, random.Random(seed))
        run_virtual(world.run, number, mishaps, backend="trio" if seed % 2 else "asyncio", seed=seed)
        assert world.served > 0
    finally:
        server.close()


@pytest.fixture(scope="module")
def valkey_of_module(shared_valkey: Valkey) -> Valkey:
    return shared_valkey


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["waiting", "resuming"])
@pytest.mark.parametrize("how", ["acquire", "reserve"])
def test_a_cancellation_at_any_checkpoint_gives_everything_back(
    shared_valkey: Valkey, moment: Moment, backend: Backend, how: str
) -> None:
    """Case 40: whoever is cancelled while Redis is asked, or while he waits for its answer, leaves nothing behind."""
    calls = Demand(ADA, Concurrency(1))
    demands = [Demand(ADA, Rate(2, per=10)), calls, Demand(ACME, Rate(4, per=10), 2)]

    async def program(limiter: RedisLimiter, held: list[Permit]) -> None:
        async def call(number: int) -> None:
            wanted = demands if number % 2 else demands[:2]
            permit = await limiter.acquire(wanted) if how == "acquire" else await limiter.reserve(wanted)
            if isinstance(permit, Refusal):
                return
            held.append(permit)
            await anyio.sleep(1)
            held.remove(permit)
            if number == 3:
                limiter.refund(permit)
            else:
                limiter.done(permit, Observation())

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(call, number)

    async def run(at: int, server: VirtualServer) -> bool:
        async with workers(server) as (limiter,):
            held = list[Permit]()
            await anyio.sleep(0.01)
            reached = await run_with_cancellation_at(at, program, limiter, held, moment=moment)
            for permit in held:
                limiter.refund(permit)
            await anyio.sleep(11)
            assert [use.used for use in await limiter.snapshot(demands)] == [0, 0, 0]
            await granted(limiter, *[it._replace(cost=getattr(it.quota, "permits", 1)) for it in demands])
            return reached

    at, reached = 1, True
    while reached:
        server = VirtualServer(shared_valkey.port, VirtualClock())
        reached = run_virtual(run, at, server, backend=backend)
        server.close()
        at += 1
    assert at > 10


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thousand_idle_scopes_cost_nothing(shared_valkey: Valkey, backend: Backend) -> None:
    async def run() -> None:
        async with workers(server) as (limiter,):

            async def call(number: int) -> None:
                permit = await limiter.acquire([Demand(Scope("acme", str(number)), Rate(5, per=10))])
                limiter.done(permit, Observation())

            async with anyio.create_task_group() as tasks:
                for number in range(1_000):
                    tasks.start_soon(call, number)
            await anyio.sleep(10)
            before = server.exchanges
            await anyio.sleep(1_000)
            assert server.exchanges == before

    server = VirtualServer(shared_valkey.port, VirtualClock())
    run_virtual(run, backend=backend)
    server.close()


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_workers_share_a_quota_and_use_it_up(shared_valkey: Valkey, number: int, backend: Backend) -> None:
    demands, provider = [Demand(ADA, Rate(300, per=1)), Demand(ADA, Concurrency(60))], StrictProvider(1e-4)
    calls, way = list[float](), jittery(0.001, 0.02)

    async def call(limiter: RedisLimiter) -> None:
        while True:
            permit = await limiter.acquire(demands)
            provider.begin(demands)
            await anyio.sleep(way())
            provider.count(demands, server.clock.now())
            calls.append(server.clock.now())
            await anyio.sleep(way())
            provider.end(demands)
            limiter.done(permit, Observation())

    async def run() -> None:
        async with workers(server, number) as limiters, anyio.create_task_group() as tasks:
            for place in range(60 * number):
                tasks.start_soon(call, limiters[place % number])
            await anyio.sleep(10)
            tasks.cancel_scope.cancel()

    server = VirtualServer(shared_valkey.port, VirtualClock())
    run_virtual(run, backend=backend)
    server.close()
    assert provider.overfull == []
    assert len(calls) >= 0.95 * 3_000
    assert number > 1 or server.exchanges < 0.2 * len(calls)


@define
class Loop:
    """Callers that call as often as they may, each for `lasts()` seconds, and count."""

    demands: list[Demand]
    lasts: Callable[[], float]
    calls: list[int] = field(factory=list[int])
    """Calls that ended, for each worker."""

    async def run(self, server: VirtualServer, number: int, callers: int, seconds: float) -> None:
        """Let that many workers with that many callers each work."""
        self.calls = [0] * number
        async with workers(server, number) as limiters, anyio.create_task_group() as tasks:
            for place in range(callers * number):
                tasks.start_soon(self._call, limiters[place % number], place % number)
            await anyio.sleep(seconds)
            tasks.cancel_scope.cancel()

    async def _call(self, limiter: RedisLimiter, place: int) -> None:
        while True:
            permit = await limiter.acquire(self.demands)
            await anyio.sleep(self.lasts())
            limiter.done(permit, Observation())
            self.calls[place] += 1


def test_permits_of_calls_under_way_do_not_lie_idle_beside_a_rate(shared_valkey: Valkey) -> None:
    loop = Loop([Demand(ADA, Rate(300, per=1)), Demand(ADA, Concurrency(10))], lambda: 0.02)
    server = VirtualServer(shared_valkey.port, VirtualClock())
    run_virtual(loop.run, server, 3, 10, 6.0)
    server.close()
    assert sum(loop.calls) > 250 * 6
    assert max(loop.calls) < 2 * min(loop.calls)


@pytest.mark.parametrize(
    ("permits", "latency", "way"),
    [
        (100, 0.0002, (0.0, 0.001)),
        (100, 0.0002, (0.015, 0.025)),
        (1_000, 0.0002, (0.015, 0.025)),
        (100, 0.005, (0.0, 0.001)),
    ],
    ids=["near", "far", "high", "distant server"],
)
def test_four_workers_need_less_than_an_exchange_for_ten_permits(
    shared_valkey: Valkey, permits: int, latency: float, way: tuple[float, float]
) -> None:
    once = jittery(*way)
    loop = Loop([Demand(ADA, Rate(permits, per=1))], lambda: once() + once())
    server = VirtualServer(shared_valkey.port, VirtualClock(), latency=lambda: latency)
    run_virtual(loop.run, server, 4, 50, 12.0)
    server.close()
    assert sum(loop.calls) > 0.9 * 12 * permits
    assert server.exchanges < 0.1 * sum(loop.calls)
