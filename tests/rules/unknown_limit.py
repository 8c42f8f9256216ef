"""Providers that tell nothing of their limits, and callers that always have work.

Each call takes a random way there and back; the next in line is served when a call ends or when the window says that
permits are free. Nothing here reads a clock: a run takes as long as its calls are many.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random

from attrs import define, field

from ratesync.rules.adaptive import AdaptiveWindow

LAN = (0.002, 0.005)
WAN = (0.03, 0.08)
"""Least and most seconds of a round trip."""

START = 1_700_000_000.0

PARTS = 20
"""Beginnings of spans in a cycle."""


@define
class Provider:
    """Refuses what does not fit into its window."""

    limits: tuple[tuple[float, int], ...]
    window: float = 1.0
    counts_refused: bool = False
    penalty: float = 0.0
    """Seconds for which everything is refused after a refusal."""
    prolongs: bool = False
    """A refusal during that time lets it begin again."""
    is_fixed: bool = False
    """Windows begin at multiples of their length, and do not slide."""
    held_until: float = -math.inf
    counted: deque[float] = field(factory=deque[float], init=False)
    accepted: list[float] = field(factory=list[float], init=False)
    refused: list[float] = field(factory=list[float], init=False)

    def answer(self, now: float) -> bool:
        since = now // self.window * self.window if self.is_fixed else now - self.window
        while self.counted and self.counted[0] <= since:
            self.counted.popleft()
        limit = next(limit for at, limit in reversed(self.limits) if at <= now)
        is_held = now < self.held_until
        is_accepted = not is_held and len(self.counted) < limit
        if is_accepted or self.counts_refused:
            self.counted.append(now)
        if not is_accepted and (self.prolongs or not is_held):
            self.held_until = now + self.penalty
        (self.accepted if is_accepted else self.refused).append(now)
        return is_accepted

    def share(self, since: float, until: float, limit: int) -> float:
        """Which share of the limit was used."""
        return self.between(self.accepted, since, until) / (limit * (until - since) / self.window)

    def mean_share(self, since: float, until: float, limit: int) -> float:
        """The mean of the shares that were used over spans which begin at all moments of a window.

        Calls come in bunches, one in each window. Of one short span the share depends on whether a bunch comes just
        before its end: of a dozen windows that is several points.
        """
        shares = [
            self.share(since + self.window * part / PARTS, until - self.window * (1 - part / PARTS), limit)
            for part in range(PARTS)
        ]
        return sum(shares) / PARTS

    def refusals(self, since: float, until: float) -> float:
        """Refusals a minute."""
        return self.between(self.refused, since, until) * 60 / (until - since)

    def reached_after(self, since: float, until: float, limit: int) -> float:
        """Seconds until nine tenths of the limit were used over two seconds, or over a window if that is longer."""
        span, at = max(2.0, self.window), since
        while at + span <= until:
            if self.between(self.accepted, at, at + span) >= 0.9 * limit * span / self.window:
                return at - since
            at += 0.25
        return math.inf

    @staticmethod
    def between(instants: list[float], since: float, until: float) -> int:
        return bisect_left(instants, until) - bisect_left(instants, since)


def simulate(
    provider: Provider, until: float, way: tuple[float, float], *, seed: int, callers: int = 50, per: float = 1.0
) -> AdaptiveWindow:
    """Callers that always have work call the provider; its refusals are all that the window is told."""
    random, meter = Random(seed), AdaptiveWindow(per)
    events: list[tuple[float, int, str, float, bool]] = []
    numbers: Iterator[int] = iter(range(1 << 60))
    idle, alarm_at, now = callers, math.inf, 0.0
    while now < until:
        while idle and meter.take(1, START + now):
            idle -= 1
            heappush(events, (now + random.uniform(*way) / 2, next(numbers), "arrives", now, True))
        free_at = meter.free_at(1, START + now) - START if idle else math.inf
        if free_at < alarm_at or alarm_at <= now:
            alarm_at = free_at
            if free_at < math.inf:
                # An instant since 1970 has fewer digits than one since the start of the run.
                heappush(events, (max(free_at, now + 1e-6), next(numbers), "alarm", now, True))
        now, _, event, granted_at, is_accepted = heappop(events)
        if event == "arrives":
            is_accepted = provider.answer(now)
            heappush(events, (now + random.uniform(*way) / 2, next(numbers), "ends", granted_at, is_accepted))
        elif event == "ends":
            idle += 1
            meter.settle(1, 1, START + granted_at, START + now)
            if not is_accepted:
                meter.refuse(START + granted_at, START + now, is_sure=False)
    return meter
