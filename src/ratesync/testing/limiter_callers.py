"""Those who call a limiter in its conformance suite, and the strict provider that they call."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from ratesync.clock import Clock
from ratesync.errors import PermitTimeout
from ratesync.model.quota import Countable, Demand, Observation, Permit, Quota, Rate, Refusal, Scope
from ratesync.protocols import Limiter

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


@define(eq=False)
class CountedWindow:
    """The calls of the last window."""

    calls: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]], init=False)
    """Instants and costs."""
    cost: int = field(default=0, init=False)
    """All of them together."""

    def count(self, cost: int, now: float, since: float) -> None:
        """A call arrives now. Those until ``since`` have left the window."""
        self.calls.append((now, cost))
        self.cost += cost
        while self.calls[0][0] <= since:
            self.cost -= self.calls.popleft()[1]


@define(eq=False)
class StrictProvider:
    """Counts each call when it arrives, and remembers the most that any window and any instant held.

    ``tolerance`` is in seconds, for the rounding of instants.
    """

    tolerance: float = 1e-6
    windows: dict[tuple[Scope, Rate], CountedWindow] = field(
        factory=dict[tuple[Scope, Rate], "CountedWindow"], init=False
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

    def count(self, demands: Sequence[Demand], now: float) -> None:
        """The call arrives."""
        for demand in demands:
            if isinstance(demand.quota, Rate):
                window = self.windows.setdefault((demand.scope, demand.quota), CountedWindow())
                window.count(demand.cost, now, now - demand.quota.per + self.tolerance)
                if window.cost > demand.quota.permits:
                    self.overfull.append(f"{demand}: {window.cost} in one window")


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
