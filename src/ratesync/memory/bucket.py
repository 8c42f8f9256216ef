"""One quota in use at one scope, and those who wait for its permits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from attrs import define, field

from ratesync.model.quota import Adaptive, Countable, Demand, Permit, Quota, Scope, kept_of
from ratesync.rules.line import Line
from ratesync.rules.meter import Meter
from ratesync.rules.priority import PRIORITY_STEP, score

KEPT_FOR = 1.0
"""Seconds for which a bucket is kept although nothing of it is used, as it may well be used again."""


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
    line: Line[Waiter] = field(factory=Line["Waiter"], init=False)
    """Who waits for it."""
    onlookers: dict[Waiter, None] = field(factory=dict["Waiter", None], init=False)
    """Who may pass somebody that waits for it, depending on what is free here."""

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
        if limit is None or isinstance(self.quota, Adaptive):  # a measured limit is lifted by who asks for more
            return math.inf
        return limit - self.kept_from(priority)


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
    looks_on: Sequence[Bucket] = field(default=(), init=False)
    """Buckets of which it is an onlooker."""

    def line_up(self) -> None:
        """Take a place in each line."""
        for bucket, cost in self.claims:
            bucket.line.add(self, cost)

    def leave(self) -> None:
        """Give the place in each line up."""
        for bucket, cost in self.claims:
            bucket.line.remove(self, cost)
        self.look_on(())

    def look_on(self, ahead: Sequence[Waiter]) -> None:
        """Be told of what changes for those that it may pass."""
        for bucket in self.looks_on:
            bucket.onlookers.pop(self, None)
        self.looks_on = [bucket for first in ahead for bucket, _ in first.claims]
        for bucket in self.looks_on:
            bucket.onlookers[self] = None


def place_in_line(now: float, priority: int, number: int) -> tuple[float, int]:
    """Where somebody stands who came now."""
    return score(now, priority, PRIORITY_STEP), number
