"""Callers of one limiter in virtual time, and all that is known about them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from attrs import define, frozen
from hypothesis import strategies as st

from ratesync.errors import PermitTimeout
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Countable, Demand, Observation, Permit, Quota, Refusal, Scope
from ratesync.rules.priority import PRIORITY_STEP, score
from ratesync.testing.limiter_callers import StrictProvider
from ratesync.testing.virtual_time import VirtualClock

TICK = 8.0
"""Seconds. Calls end and callers give up at multiples of it; callers come a little later, one after the other.

So a step of priority is worth some seven ticks.
"""

SCOPES = [Scope("acme"), Scope("acme", "ada"), Scope("acme", "bob"), Scope("acme", "ada", "contacts")]
TICKS = st.integers(0, 16).map(lambda ticks: ticks * TICK)


@frozen
class Caller:
    """What one caller does."""

    comes_after: float
    wants: tuple[bool, bool, bool]
    """Which of the quotas."""
    cost: int
    priority: int
    waits: bool
    """Acquires; else reserves."""
    gives_up_after: float | None
    deadline_after: float | None
    there: float
    back: float
    ends: str
    tells: bool
    """Whether the answer tells how the quotas stand."""
    saves: int
    """Permits that it is charged less than it took."""


CALLER = st.builds(
    Caller,
    comes_after=st.integers(0, 40).map(lambda ticks: ticks * TICK),
    wants=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    cost=st.sampled_from([1, 1, 1, 2, 4]),
    priority=st.sampled_from([0, 0, 0, 0, -1, 1, 2]),
    waits=st.sampled_from([True, True, True, False]),
    gives_up_after=st.none() | TICKS,
    deadline_after=st.none() | TICKS,
    there=TICKS,
    back=TICKS,
    ends=st.sampled_from(["done", "done", "done", "refund", "throttled"]),
    tells=st.booleans(),
    saves=st.sampled_from([0, 0, 1, 4]),
)


def most_of(quota: Quota, priority: int) -> float:
    """The greatest cost that is granted to a priority."""
    if not isinstance(quota, Countable):
        return math.inf
    return quota.permits - (0 if priority > 0 else quota.kept)


@define(eq=False)
class Visit:
    """A caller's demands and how far they came."""

    demands: tuple[Demand, ...]
    priority: int
    number: int
    came_at: float
    left_at: float = math.inf
    permit: Permit | None = None

    @property
    def place(self) -> tuple[float, int]:
        """The lowest comes first."""
        return score(self.came_at, self.priority, PRIORITY_STEP), self.number

    @property
    def is_kept_from(self) -> bool:
        """Tell whether it wants permits of which some are kept for higher priorities."""
        return any(demand.quota.kept for demand in self.demands if isinstance(demand.quota, Countable))

    def rivals(self, other: Visit) -> bool:
        """Tell whether both want permits of one quota."""
        return any((a.scope, a.quota) == (b.scope, b.quota) for a in self.demands for b in other.demands)

    def waits_at(self, now: float) -> bool:
        """Tell whether it was there before, and is still."""
        return self.came_at < now < self.left_at


def served_at(visit: Visit) -> float:
    """When it got its permit, or went without."""
    return visit.left_at if visit.permit is None else visit.permit.granted_at


class World:
    """A limiter and its callers."""

    def __init__(self, demands: Sequence[Demand], callers: Sequence[Caller]) -> None:
        self.demands = demands
        self.callers = callers
        self.clock = VirtualClock()
        self.limiter = MemoryLimiter(clock=self.clock, cold_start=False)
        self.provider = StrictProvider()
        self.visits: list[Visit] = []
        """Of those who waited."""

    async def call_all(self) -> None:
        """Let every caller come and go."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch)
            for number, caller in enumerate(self.callers):
                tasks.start_soon(self.call, number, caller)

    async def call(self, number: int, caller: Caller) -> None:
        """One caller comes, makes a call if it gets a permit, and goes."""
        await anyio.sleep(self.to_tick(caller.comes_after) + number / 1024)
        chosen = [demand for demand, wanted in zip(self.demands, caller.wants, strict=False) if wanted]
        costs = [int(min(caller.cost, most_of(it.quota, caller.priority))) for it in chosen]
        demands = tuple(Demand(it.scope, it.quota, cost) for it, cost in zip(chosen, costs, strict=True))
        visit = Visit(demands, caller.priority, number, self.clock.now())
        if caller.waits:
            await self.wait(visit, caller)
        else:
            answer = await self.limiter.reserve(demands, priority=caller.priority)
            assert self.clock.now() == visit.came_at
            self.answered(visit, answer)
            if isinstance(answer, Permit):
                visit.permit = answer
                self.took(visit)
        if visit.permit is not None:
            assert visit.permit.demands == demands
            await self.make(visit, caller, visit.permit)

    async def wait(self, visit: Visit, caller: Caller) -> None:
        """Acquire, until it is granted or the caller gives up."""
        self.visits.append(visit)
        limit = math.inf if caller.gives_up_after is None else self.to_tick(caller.gives_up_after)
        deadline = None if caller.deadline_after is None else visit.came_at + caller.deadline_after
        try:
            with anyio.move_on_after(limit):
                visit.permit = await self.limiter.acquire(visit.demands, priority=visit.priority, deadline=deadline)
        except PermitTimeout:
            assert deadline is not None
            self.timed_out(visit, deadline)
        visit.left_at = self.clock.now()
        if visit.permit is not None:
            self.took(visit)

    async def make(self, visit: Visit, caller: Caller, permit: Permit) -> None:
        """Make the call."""
        self.provider.begin(visit.demands)
        await anyio.sleep(caller.there)
        told = Observation()
        if caller.ends != "refund":
            told = self.arrived(visit, caller)
        await anyio.sleep(self.to_tick(caller.back))
        self.provider.end(visit.demands)
        self.end(visit, permit, caller, told)

    def to_tick(self, delay: float) -> float:
        """The delay, prolonged to the next multiple of a tick."""
        now = self.clock.now()
        return math.ceil((now + delay) / TICK) * TICK - now

    async def watch(self) -> None:
        """Between any two instants: nobody waits who could have a permit."""
        await anyio.sleep(self.to_tick(0.0) + 0.4567 * TICK)  # an instant at which nothing else happens
        for _ in range(100):
            now = self.clock.now()
            waiting = sorted((visit for visit in self.visits if visit.waits_at(now)), key=lambda visit: visit.place)
            for position, visit in enumerate(waiting):
                if all(self.may_pass(visit, earlier, now) for earlier in waiting[:position] if earlier.rivals(visit)):
                    assert not self.fits(visit, now, visit.priority), f"{visit} could be served"
            await anyio.sleep(TICK)

    def may_pass(self, visit: Visit, earlier: Visit, now: float) -> bool:
        """Tell whether the one that comes earlier lacks only what is kept for such as this visit."""
        return (
            earlier.priority <= 0 < visit.priority
            and self.fits(earlier, now, priority=1)
            and not self.fits(earlier, now, priority=0)
        )

    def check_order(self) -> None:
        """Nobody was served before somebody who came first, but where the line waited for permits kept from it."""
        for later in self.visits:
            if later.permit is None:
                continue
            granted_at = later.permit.granted_at
            before = [it for it in self.visits if it.place < later.place and it.rivals(later)]
            waited = [it for it in before if it.came_at < granted_at < served_at(it)]
            for earlier in waited:
                is_kept = earlier.priority <= 0 < later.priority and any(
                    it.is_kept_from and it.place <= earlier.place for it in waited
                )
                assert is_kept, f"{later} was served before {earlier}"

    async def check_the_end(self, rest: float) -> None:
        """No permit is lost: after a rest nothing is used, and everything can be had."""
        await anyio.sleep(rest)
        assert [state.used for state in await self.limiter.snapshot(self.demands)] == [0] * len(self.demands)
        for scope, quota, _ in self.demands:
            everything = Demand(scope, quota, quota.permits if isinstance(quota, Countable) else 1)
            answer = await self.limiter.reserve([everything], priority=1)
            assert isinstance(answer, Permit)
            self.limiter.refund(answer)

    # What follows is for the worlds to say.

    def fits(self, visit: Visit, now: float, priority: int) -> bool:
        """Tell whether the visit's permits are free for that priority."""
        raise NotImplementedError

    def answered(self, visit: Visit, answer: Permit | Refusal) -> None:
        """``reserve`` gave an answer."""

    def took(self, visit: Visit) -> None:
        """A permit was granted."""

    def timed_out(self, visit: Visit, deadline: float) -> None:
        """``acquire`` raised PermitTimeout."""

    def arrived(self, visit: Visit, caller: Caller) -> Observation:
        """The provider counts the call; what it answers."""
        raise NotImplementedError

    def end(self, visit: Visit, permit: Permit, caller: Caller, told: Observation) -> None:
        """The call ended."""
        raise NotImplementedError
