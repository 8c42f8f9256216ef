"""Calls under one meter to a strict provider, in time that is only counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from attrs import define, field, frozen

from ratesync.model.feedback import Reading
from ratesync.rules.meter import Meter
from ratesync.testing.limiter_callers import Count


@frozen
class Call:
    """One call: it starts as soon as it may, ``gap`` seconds after the one before at the earliest."""

    cost: int
    gap: float
    there: float
    back: float


@define(eq=False)
class MeterCourse:
    """What happens between a meter and a provider, each thing at its instant."""

    meter: Meter
    provider: Count
    permits: int
    now: float
    tells: bool = False
    """Whether each answer tells what is left."""
    most: float = math.inf
    """Calls under way at the same time."""
    under_way: int = 0
    refused: int = 0
    """Calls that the provider refused."""
    arrives_by: float = -math.inf
    """Instant at which all calls so far have arrived."""
    _events: list[tuple[float, int, Callable[[], None]]] = field(
        factory=list[tuple[float, int, Callable[[], None]]], init=False
    )
    _numbers: count[int] = field(factory=count, init=False)

    def at(self, instant: float, event: Callable[[], None]) -> None:
        """Let something happen then."""
        heappush(self._events, (instant, next(self._numbers), event))

    def go_to(self, instant: float) -> None:
        """Let everything happen until then."""
        while self._events and self._events[0][0] <= instant:
            self.step()
        self.now = instant

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, event = heappop(self._events)
        event()

    def finish(self) -> None:
        """Let everything happen."""
        while self._events:
            self.step()

    def start(self, call: Call) -> None:
        """Make a call as soon as the meter lets it start."""
        self.go_to(self.now + call.gap)
        cost = min(call.cost, self.meter.limit or call.cost)
        while self.under_way >= self.most or not self.meter.take(cost, self.now):
            free_at = math.inf if self.under_way >= self.most else self.meter.free_at(cost, self.now)
            if self._events and self._events[0][0] <= free_at:
                self.step()
            else:
                assert self.now < free_at < math.inf
                self.now = free_at
        self.under_way += 1
        self._send(call, cost, self.meter, self.now)

    def _send(self, call: Call, cost: int, meter: Meter, granted_at: float) -> None:
        answer: list[tuple[bool, Reading]] = []

        def arrive() -> None:
            fits = self.provider.count(cost, self.now)
            self.refused += not fits
            remaining = math.floor(self.permits - self.provider.used(self.now) + 1e-6)
            answer.append((fits, Reading(limit=self.permits, remaining=remaining)))
            self.at(self.now + call.back, end)

        def end() -> None:
            (fits, reading) = answer[0]
            if meter is not self.meter:
                return  # whose process has died since
            self.under_way -= 1
            meter.settle(cost, cost, granted_at, self.now)
            if self.tells:
                meter.learn(reading, granted_at, self.now)
            if not fits:
                meter.refuse(self.now, is_sure=False)

        self.arrives_by = max(self.arrives_by, granted_at + call.there)
        self.at(granted_at + call.there, arrive)

    def restart(self, meter: Meter) -> None:
        """The process died and another one starts, with a new meter."""
        self.meter, self.under_way = meter, 0
