"""Those who call a limiter in its conformance suite, and the strict provider that they call."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from ratesync.clock import Clock
from ratesync.errors import PermitTimeout
from ratesync.model.quota import (
    Budget,
    Countable,
    Demand,
    FixedWindow,
    LeakyBucket,
    Observation,
    Permit,
    Quota,
    Rate,
    Refusal,
    Scope,
)
from ratesync.protocols import Limiter
from ratesync.rules.calendar import NextStart, budget_starts, window_starts

NOTHING_TOLD = Observation()


@define(eq=False)
class Callers:
    """Callers of ``acquire``, each in a task of its own. Remembers who got what, in order."""

    limiter: Limiter
    clock: Clock
    tasks: TaskGroup
    moment: float
    """Seconds after which a limiter has surely noticed a call."""
    served: list[str] = field(factory=list[str], init=False)
    """Names, in the order in which permits came."""
    served_at: dict[str, float] = field(factory=dict[str, float], init=False)
    permits: dict[str, Permit] = field(factory=dict[str, Permit], init=False)
    refused: dict[str, PermitTimeout] = field(factory=dict[str, PermitTimeout], init=False)

    async def line_up(
        self, name: str, *demands: Demand, priority: int = 0, deadline: float | None = None
    ) -> anyio.CancelScope:
        """Let a caller ask, and go on a moment later. Cancel the scope to make the caller give up."""
        scope = anyio.CancelScope()
        acquire = partial(self.limiter.acquire, demands, priority=priority, deadline=deadline)
        self.tasks.start_soon(self._call, name, acquire, scope)
        await anyio.sleep(self.moment)
        return scope

    async def _call(self, name: str, acquire: Callable[[], Awaitable[Permit]], scope: anyio.CancelScope) -> None:
        with scope:
            try:
                permit = await acquire()
            except PermitTimeout as error:
                self.refused[name] = error
                return
            self.served.append(name)
            self.served_at[name] = self.clock.now()
            self.permits[name] = permit

    def end(self, name: str) -> None:
        """The call of that caller ends."""
        self.limiter.done(self.permits[name], Observation())


@asynccontextmanager
async def calling(limiter: Limiter, clock: Clock, moment: float) -> AsyncGenerator[Callers]:
    """Callers for a block; those who still wait at its end give up. What the block raises comes out as it is."""
    error: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Callers(limiter, clock, tasks, moment)
        except Exception as raised:  # noqa: BLE001  raised again, outside the group
            error = raised
        tasks.cancel_scope.cancel()
    if error is not None:
        raise error


class Count(Protocol):
    """How a strict provider counts the calls of one quota at one scope. Instants must not go backwards."""

    def count(self, cost: int, now: float) -> bool:
        """A call arrives now. False: it is too many and refused, so it is not counted."""
        ...

    def used(self, now: float) -> float:
        """Permits in use."""
        ...


@define(eq=False)
class SlidingCount:
    """The calls of the last ``per`` seconds."""

    permits: int
    per: float
    tolerance: float = 1e-6
    """Seconds by which a call may come too early, for the rounding of instants."""
    calls: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]], init=False)
    """Instants and costs."""
    cost: int = field(default=0, init=False)
    """All of them together."""

    def count(self, cost: int, now: float) -> bool:
        """A call arrives."""
        if self.used(now) + cost > self.permits:
            return False
        self.calls.append((now, cost))
        self.cost += cost
        return True

    def used(self, now: float) -> float:
        """Permits in use."""
        while self.calls and self.calls[0][0] <= now - self.per + self.tolerance:
            self.cost -= self.calls.popleft()[1]
        return self.cost


@define(eq=False)
class StepwiseCount:
    """The calls of the window that is on, by the provider's clock."""

    permits: int
    next_start: NextStart
    ahead: float = 0.0
    """Seconds by which the provider's clock is ahead."""
    tolerance: float = 1e-6
    ends_at: float = field(default=-math.inf, init=False)
    cost: int = field(default=0, init=False)

    def count(self, cost: int, now: float) -> bool:
        """A call arrives."""
        if self.used(now) + cost > self.permits:
            return False
        self.cost += cost
        return True

    def used(self, now: float) -> float:
        """Permits in use."""
        theirs = now + self.ahead + self.tolerance
        if theirs >= self.ends_at:
            self.ends_at, self.cost = self.next_start(theirs), 0
        return self.cost


@define(eq=False)
class LevelCount:
    """The level of a leaky bucket."""

    permits: int
    restore: float
    tolerance: float = 1e-6
    """Seconds by which a call may come too early, for the rounding of instants."""
    level: float = field(default=0.0, init=False)
    counted_at: float = field(default=-math.inf, init=False)

    def count(self, cost: int, now: float) -> bool:
        """A call arrives."""
        if self.used(now) + cost > self.permits + self.tolerance * self.restore:
            return False
        self.level += cost
        return True

    def used(self, now: float) -> float:
        """Permits in use."""
        self.level = max(0.0, self.level - (now - self.counted_at) * self.restore)
        self.counted_at = now
        return self.level


def strict_count(quota: Quota, *, tolerance: float = 1e-6, ahead: float = 0.0) -> Count | None:
    """How a strict provider counts under that quota; None where it does not count calls as they arrive.

    ``ahead`` is by how many seconds its clock is ahead.
    """
    match quota:
        case Rate():
            return SlidingCount(quota.permits, quota.per, tolerance)
        case FixedWindow():
            return StepwiseCount(quota.permits, window_starts(quota), ahead, tolerance)
        case Budget():
            return StepwiseCount(quota.permits, budget_starts(quota), ahead, tolerance)
        case LeakyBucket():
            return LevelCount(quota.permits, quota.restore, tolerance)
        case _:
            return None


@define(eq=False)
class StrictProvider:
    """Counts each call when it arrives, by its own clock, and remembers what was exceeded.

    ``tolerance`` is in seconds, for the rounding of instants. ``ahead`` is by how many its clock is ahead.
    """

    tolerance: float = 1e-6
    ahead: float = 0.0
    counts: dict[tuple[Scope, Quota], Count | None] = field(
        factory=dict[tuple[Scope, Quota], "Count | None"], init=False
    )
    under_way: dict[tuple[Scope, Quota], int] = field(factory=dict[tuple[Scope, Quota], int], init=False)
    overfull: list[str] = field(factory=list[str], init=False)
    """What was exceeded."""

    def begin(self, demands: Sequence[Demand]) -> None:
        """A call is sent."""
        for demand in demands:
            key = (demand.scope, demand.quota)
            self.under_way[key] = self.under_way.get(key, 0) + demand.cost
            if isinstance(demand.quota, Countable) and self.under_way[key] > demand.quota.permits:
                self.overfull.append(f"{demand}: {self.under_way[key]} at the same time")

    def end(self, demands: Sequence[Demand]) -> None:
        """The answer has come back."""
        for demand in demands:
            self.under_way[demand.scope, demand.quota] -= demand.cost

    def count(self, demands: Sequence[Demand], now: float) -> bool:
        """The call arrives. False: it is too many under one of the quotas."""
        fits = True
        for scope, quota, cost in demands:
            count = self.count_of(scope, quota)
            if count is not None and not count.count(cost, now):
                self.overfull.append(f"{quota} at {scope}: {count.used(now)} in use, and {cost} more at {now}")
                fits = False
        return fits

    def count_of(self, scope: Scope, quota: Quota) -> Count | None:
        """How the calls of a quota are counted."""
        if (scope, quota) not in self.counts:
            self.counts[scope, quota] = strict_count(quota, tolerance=self.tolerance, ahead=self.ahead)
        return self.counts[scope, quota]


async def granted(limiter: Limiter, *demands: Demand, priority: int = 0) -> Permit:
    """What ``reserve`` grants; it must."""
    answer = await limiter.reserve(demands, priority=priority)
    assert isinstance(answer, Permit), f"refused: {answer}"
    return answer


async def refused(limiter: Limiter, *demands: Demand, priority: int = 0) -> Refusal:
    """What ``reserve`` refuses; it must."""
    answer = await limiter.reserve(demands, priority=priority)
    assert isinstance(answer, Refusal), f"granted: {answer}"
    return answer


async def spend(limiter: Limiter, *demands: Demand, told: Observation = NOTHING_TOLD) -> None:
    """Make a call that ends at once, and whose answer told something."""
    limiter.done(await granted(limiter, *demands), told)
