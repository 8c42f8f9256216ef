"""Laws of the exact limiter, for random quotas and callers in virtual time, checked against a plain count."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import PermitTimeout
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Quota, Rate, Refusal, Scope
from ratesync.testing.limiter_callers import StrictProvider
from ratesync.testing.virtual_time import Backend, VirtualClock, run_virtual

TICK = 1 / 8
"""Seconds. Calls end and callers give up at multiples of it; callers come a little later, one after the other."""

SCOPES = [Scope("acme"), Scope("acme", "ada"), Scope("acme", "bob"), Scope("acme", "ada", "contacts")]
TICKS = st.integers(0, 16).map(lambda ticks: ticks * TICK)
QUOTA: st.SearchStrategy[Quota] = st.one_of(
    st.builds(Rate, st.integers(1, 4), per=st.sampled_from([0.5, 1.0, 2.0, 5.0])),
    st.builds(Concurrency, st.integers(1, 3)),
)


@frozen
class Caller:
    """What one caller does."""

    comes_after: float
    wants: tuple[bool, bool, bool]
    """Which of the quotas."""
    cost: int
    waits: bool
    """Acquires; else reserves."""
    gives_up_after: float | None
    deadline_after: float | None
    there: float
    back: float
    ends: str


CALLER = st.builds(
    Caller,
    comes_after=st.integers(0, 40).map(lambda ticks: ticks * TICK),
    wants=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    cost=st.sampled_from([1, 1, 1, 2, 4]),
    waits=st.sampled_from([True, True, True, False]),
    gives_up_after=st.none() | TICKS,
    deadline_after=st.none() | TICKS,
    there=TICKS,
    back=TICKS,
    ends=st.sampled_from(["done", "done", "done", "refund", "throttled"]),
)


@define(eq=False)
class Visit:
    """A caller's demands and how far they came."""

    demands: tuple[Demand, ...]
    came_at: float
    left_at: float = math.inf
    permit: Permit | None = None

    def rivals(self, other: Visit) -> bool:
        return any((a.scope, a.quota) == (b.scope, b.quota) for a in self.demands for b in other.demands)


@define(eq=False)
class PlainCount:
    """All calls, and what fits beside them. No credit for the way, as some calls take no time at all."""

    under_way: list[Demand] = field(factory=list[Demand])
    ended: list[tuple[float, Demand]] = field(factory=list[tuple[float, Demand]])
    held_until: dict[Scope, float] = field(factory=dict[Scope, float])

    def free_at(self, demands: Sequence[Demand], now: float, *, refunded: bool = False) -> float:
        instants = {now, *self.held_until.values()}
        instants.update(at + demand.quota.per for at, demand in self.ended if isinstance(demand.quota, Rate))
        at = (at for at in sorted(instants) if at >= now and self.fits(demands, at, refunded=refunded))
        return next(at, math.inf)

    def fits(self, demands: Sequence[Demand], at: float, *, refunded: bool = False) -> bool:
        connections = [Scope(demand.scope.provider, demand.scope.connection) for demand in demands]
        held = any(self.held_until.get(connection, 0) > at for connection in connections)
        return not held and self.has_room(demands, at, refunded=refunded)

    def has_room(self, demands: Sequence[Demand], at: float, *, refunded: bool = False) -> bool:
        return all(self.used(demand, at, refunded) + demand.cost <= demand.quota.permits for demand in demands)

    def used(self, wanted: Demand, at: float, refunded: bool) -> int:
        counted = [] if refunded else list(self.under_way)
        if isinstance(wanted.quota, Rate):
            counted += [demand for ended_at, demand in self.ended if ended_at + wanted.quota.per > at]
        return sum(demand.cost for demand in counted if (demand.scope, demand.quota) == (wanted.scope, wanted.quota))


class World:
    """A limiter, its callers and everything that is known about them."""

    def __init__(self, demands: Sequence[Demand], callers: Sequence[Caller]) -> None:
        self.demands = demands
        self.callers = callers
        self.clock = VirtualClock()
        self.limiter = MemoryLimiter(clock=self.clock, cold_start=False)
        self.provider = StrictProvider()
        self.plain = PlainCount()
        self.visits: list[Visit] = []

    async def run(self) -> None:
        for demand in self.demands:  # the shortest round trip takes no time
            permit = await self.limiter.acquire([demand])
            self.end(permit, [demand], "done")
        await anyio.sleep(TICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch)
            for number, caller in enumerate(self.callers):
                tasks.start_soon(self.call, number, caller)
        await self.check_the_end()

    async def call(self, number: int, caller: Caller) -> None:
        await anyio.sleep(caller.comes_after + number / 1024)
        chosen = [demand for demand, wanted in zip(self.demands, caller.wants, strict=False) if wanted]
        demands = tuple(Demand(it.scope, it.quota, min(caller.cost, it.quota.permits)) for it in chosen)
        visit = Visit(demands, self.clock.now())
        if caller.waits:
            await self.wait(visit, caller)
        else:
            await self.ask(visit)
        if visit.permit is not None:
            self.provider.begin(demands)
            await anyio.sleep(caller.there)
            if caller.ends != "refund":
                self.provider.count(demands, self.clock.now())
            await anyio.sleep(self.to_tick(caller.back))
            self.end(visit.permit, demands, caller.ends)
            self.provider.end(demands)

    async def wait(self, visit: Visit, caller: Caller) -> None:
        self.visits.append(visit)
        limit = math.inf if caller.gives_up_after is None else self.to_tick(caller.gives_up_after)
        deadline = None if caller.deadline_after is None else visit.came_at + caller.deadline_after
        try:
            with anyio.move_on_after(limit):
                visit.permit = await self.limiter.acquire(visit.demands, deadline=deadline)
        except PermitTimeout:
            now = self.clock.now()
            assert deadline is not None
            assert now >= deadline or self.plain.free_at(visit.demands, now, refunded=True) > deadline
        visit.left_at = self.clock.now()
        self.took(visit)

    async def ask(self, visit: Visit) -> None:
        now = visit.came_at
        in_line = any(earlier.left_at > now and earlier.rivals(visit) for earlier in self.visits)
        answer = await self.limiter.reserve(visit.demands)
        assert self.clock.now() == now
        if isinstance(answer, Refusal):
            assert in_line or not self.plain.fits(visit.demands, now)
            free_at = self.plain.free_at(visit.demands, now)
            if not in_line:
                assert (math.inf if answer.retry_after is None else now + answer.retry_after) == free_at
            return
        assert not in_line
        assert self.plain.fits(visit.demands, now)
        visit.permit = answer
        self.took(visit)

    def to_tick(self, delay: float) -> float:
        """The delay, prolonged to the next multiple of a tick."""
        now = self.clock.now()
        return math.ceil((now + delay) / TICK) * TICK - now

    def took(self, visit: Visit) -> None:
        if visit.permit is not None:
            assert visit.permit.demands == visit.demands
            assert self.plain.has_room(visit.demands, visit.permit.granted_at)  # a hold may have come since
            self.plain.under_way += visit.demands

    def end(self, permit: Permit, demands: Sequence[Demand], how: str) -> None:
        now = self.clock.now()
        for demand in demands:
            if demand in self.plain.under_way:
                self.plain.under_way.remove(demand)
        if how == "refund":
            self.limiter.refund(permit)
            return
        self.plain.ended += [(now, demand) for demand in demands]
        if how == "throttled":
            for demand in demands:
                if demand.scope.connection:
                    connection = Scope(demand.scope.provider, demand.scope.connection)
                    self.plain.held_until[connection] = max(self.plain.held_until.get(connection, 0), now + 1)
        self.limiter.done(permit, Observation(throttled=how == "throttled", retry_after=1.0))

    async def watch(self) -> None:
        """Between any two instants: nobody waits who could have a permit."""
        await anyio.sleep(TICK / 2)
        for _ in range(100):
            now = self.clock.now()
            waiting = [visit for visit in self.visits if visit.came_at < now < visit.left_at]
            for position, visit in enumerate(waiting):
                if not any(earlier.rivals(visit) for earlier in waiting[:position]):
                    assert not self.plain.fits(visit.demands, now), f"{visit} could be served"
            await anyio.sleep(TICK)

    async def check_the_end(self) -> None:
        assert self.provider.overfull == []
        for later_position, later in enumerate(self.visits):
            for earlier in self.visits[:later_position]:
                if later.permit is not None and earlier.rivals(later):
                    first_at = earlier.left_at if earlier.permit is None else earlier.permit.granted_at
                    assert first_at <= later.permit.granted_at, f"{later} was served before {earlier}"
        await anyio.sleep(10)
        assert [use.used for use in await self.limiter.snapshot(self.demands)] == [0] * len(self.demands)
        for demand in self.demands:
            everything = Demand(demand.scope, demand.quota, demand.quota.permits)
            assert isinstance(await self.limiter.reserve([everything]), Permit)


@given(
    st.lists(st.builds(Demand, st.sampled_from(SCOPES), QUOTA, st.just(1)), min_size=2, max_size=3, unique=True),
    st.lists(CALLER, min_size=10, max_size=40),
    st.sampled_from(["asyncio", "trio"]),
    st.integers(0, 3),
)
def test_windows_are_kept_in_order_and_without_loss_or_idling(
    demands: list[Demand], callers: list[Caller], backend: Backend, seed: int
) -> None:
    run_virtual(World(demands, callers).run, backend=backend, seed=seed)
