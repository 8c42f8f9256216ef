"""One quota in use at one scope, and those who wait for its permits."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import anyio
from attrs import define, field

from ratesync.model.quota import Countable, Demand, Permit, Quota, Scope, kept_of
from ratesync.rules.meter import Meter
from ratesync.rules.priority import PRIORITY_STEP, score

KEPT_FOR = 1.0
"""Seconds for which a bucket is kept although nothing of it is used, as it may well be used again."""


@define(eq=False)
class Line:
    """Who waits for one bucket. Within a priority, who came first is first; between priorities the score decides."""

    _by_priority: dict[int, OrderedDict[Waiter, None]] = field(
        factory=dict[int, OrderedDict["Waiter", None]], init=False
    )
    wanted: int = field(default=0, init=False)
    """Permits that all of them want together."""

    def __bool__(self) -> bool:
        return bool(self._by_priority)

    def __len__(self) -> int:
        return sum(map(len, self._by_priority.values()))

    def add(self, waiter: Waiter, cost: int) -> None:
        """Let somebody stand in line."""
        alike = self._by_priority.get(waiter.priority)
        if alike is None:
            alike = self._by_priority[waiter.priority] = OrderedDict()
        alike[waiter] = None
        self.wanted += cost

    def remove(self, waiter: Waiter, cost: int) -> None:
        """Let somebody go."""
        alike = self._by_priority[waiter.priority]
        del alike[waiter]
        if not alike:
            del self._by_priority[waiter.priority]
        self.wanted -= cost

    def head(self) -> Waiter:
        """Who is first."""
        return min((next(iter(alike)) for alike in self._by_priority.values()), key=_place)

    def heads(self) -> list[Waiter]:
        """Who is first, and who is first of those that may have kept permits, if that is somebody else."""
        first = self.head()
        if first.is_privileged:
            return [first]
        privileged = [next(iter(alike)) for priority, alike in self._by_priority.items() if priority > 0]
        return [first, min(privileged, key=_place)] if privileged else [first]

    def waiters(self) -> list[Waiter]:
        """Everybody in it."""
        return [waiter for alike in self._by_priority.values() for waiter in alike]


@define(eq=False)
class Bucket:
    """One quota at one scope."""

    scope: Scope
    quota: Quota
    meter: Meter
    asked_at: float
    """Instant at which somebody last wanted permits."""
    reserve: float = field(init=False)
    """Share of the permits that is kept for priorities above 0."""
    line: Line = field(factory=Line, init=False)
    """Who waits for it."""

    def __attrs_post_init__(self) -> None:
        self.reserve = self.quota.reserve if isinstance(self.quota, Countable) else 0.0

    def is_idle(self, now: float) -> bool:
        """Tell whether it may be dropped."""
        return self.asked_at + KEPT_FOR <= now and not self.line and self.meter.is_idle(now)

    def kept_from(self, priority: int) -> int:
        """Permits that are kept from a priority, for higher ones."""
        if priority > 0 or not self.reserve:
            return 0
        return kept_of(self.meter.limit or 0, self.reserve)

    def most(self, priority: int) -> float:
        """The greatest cost that is ever granted to a priority, as things stand."""
        limit = self.meter.limit
        return math.inf if limit is None else limit - self.kept_from(priority)


Claim = tuple[Bucket, int]
"""A number of permits from one bucket."""


@define(eq=False)
class Waiter:
    """Somebody who waits in ``acquire``, in line at each bucket that it claims from."""

    demands: Sequence[Demand]
    claims: Sequence[Claim]
    """Each bucket once."""
    deadline: float
    """Instant; infinity for none."""
    priority: int
    place: tuple[float, int]
    """The lowest comes first: score, then number of arrival."""
    alarm: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when there is a permit, or when the waiter should look again."""
    looks_at: float = field(default=math.inf, init=False)
    """Instant at which the waiter looks by itself; infinity for never."""
    permit: Permit | None = field(default=None, init=False)

    @property
    def is_privileged(self) -> bool:
        """True if it may have the permits that are kept for higher priorities."""
        return self.priority > 0

    def line_up(self) -> None:
        """Take a place in each line."""
        for bucket, cost in self.claims:
            bucket.line.add(self, cost)

    def leave(self) -> None:
        """Give the place in each line up."""
        for bucket, cost in self.claims:
            bucket.line.remove(self, cost)


def place_in_line(now: float, priority: int, number: int) -> tuple[float, int]:
    """Where somebody stands who came now."""
    return score(now, priority, PRIORITY_STEP), number


def _place(waiter: Waiter) -> tuple[float, int]:
    return waiter.place
