"""Calls with the same demands, and those who wait to make one."""

from __future__ import annotations

import math
from bisect import insort

import anyio
from attrs import define, field, frozen

from ratesync.model.quota import Demand, Permit
from ratesync.redis.limiter.bucket import Bucket
from ratesync.rules.line import Line

SLOT = 0.15
"""Seconds in which demand is counted, and for which permits are leased ahead."""

HOT = 5
"""Grants in a slot from which on permits are leased before somebody asks."""


@frozen
class Wait:
    """Why the server did not grant all that was wanted."""

    bucket: Bucket
    """The one that waits longest."""
    free_at: float
    """Instant of ours; infinity where it depends on calls under way."""
    earliest_at: float
    """Surely not before this instant."""
    is_reserved: bool
    """Only permits that are kept for higher priorities are left."""


@define(eq=False)
class Waiter:
    """Somebody who waits in ``acquire``, or for the answer in ``reserve``."""

    lane: Lane
    priority: int
    deadline: float
    place: tuple[float, int]
    """The lowest comes first: score, then number of arrival."""
    alarm: anyio.Event = field(factory=anyio.Event, init=False)
    permit: Permit | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    is_sent_away: bool = field(default=False, init=False)
    """The server does not answer: to be granted elsewhere."""
    wait: Wait | None = field(default=None, init=False)
    """What stands in the way of who asks in ``reserve``."""


@define(eq=False)
class Lane:
    """One set of demands, for one class of priority: what is leased for it is leased as a whole."""

    demands: tuple[Demand, ...]
    is_privileged: bool
    """May have the permits that are kept for higher priorities."""
    costs: list[tuple[Bucket, int]]
    """Each bucket once."""
    line: Line[Waiter] = field(factory=Line["Waiter"], init=False)
    stock: list[list[float]] = field(factory=list[list[float]], init=False)
    """[instant from which it may be used, units], in order."""
    units: int = field(default=0, init=False)
    """All units in stock."""
    asks_at: float = field(default=-math.inf, init=False)
    """Instant from which it makes sense to ask the server."""
    wait: Wait | None = field(default=None, init=False)
    """What the server said last; None: all was granted, or it was not asked yet."""
    asked: int = field(default=0, init=False)
    """Number of the request with which it was asked for last."""
    polls: int = field(default=0, init=False)
    """How often in a row it was asked in vain for permits that others hold."""
    used_at: float = field(default=0.0, init=False)
    twin: Lane | None = field(default=None, init=False)
    """The lane of the same demands for the other class of priority."""
    _slot: int = field(default=0, init=False)
    _grants: int = field(default=0, init=False)
    _grants_before: int = field(default=0, init=False)
    calls: list[tuple[Bucket, int]] = field(init=False)
    """The part of the costs that is free again when a call ends, and is not leased by the unit."""
    flow: list[tuple[Bucket, int]] = field(init=False)
    """The other part."""

    def __attrs_post_init__(self) -> None:
        self.calls = [(bucket, cost) for bucket, cost in self.costs if bucket.kind == "calls"]
        self.flow = [(bucket, cost) for bucket, cost in self.costs if bucket.kind != "calls"]

    @property
    def is_reserved(self) -> bool:
        """Whether it only lacks permits that are kept for higher priorities."""
        return self.wait is not None and self.wait.is_reserved

    def is_due(self, now: float) -> bool:
        """Whether it makes sense to ask the server: it is time, or a call of ours has ended since."""
        if self.asks_at <= now:
            return True
        if self.asks_at == math.inf:
            return any(bucket.freed >= self.asked for bucket, _ in self.costs)
        if self.wait is None or self.wait.bucket.kind != "calls":
            return False
        # It is asked now and then what others hold; what a call of ours left here must not wait for that.
        return any(bucket.freed >= self.asked and bucket.idle >= cost * (self.units + 1) for bucket, cost in self.calls)

    def closed_until(self) -> float:
        """Instant until which some of its quotas are closed."""
        return max((bucket.closed_until for bucket, _ in self.costs), default=-math.inf)

    def may_take(self, now: float) -> bool:
        """Whether a call can be made from what this process holds."""
        if self.flow and not (self.stock and self.stock[0][0] <= now):
            return False
        for bucket, cost in self.costs:
            if bucket.closed_until > now:
                return False
            if bucket.kind == "calls" and not bucket.may_use_idle(cost, is_privileged=self.is_privileged):
                return False
        return True

    def take(self, now: float) -> bool:
        """Take what a call needs. Tells whether demand is high."""
        if self.flow:
            first = self.stock[0]
            first[1] -= 1
            self.units -= 1
            if first[1] <= 0:
                del self.stock[0]
        for bucket, cost in self.costs:
            if bucket.kind != "penalty":
                bucket.in_use += cost
                bucket.fresh = max(0, bucket.fresh - cost)
                bucket.peak = max(bucket.peak, bucket.in_use)
        self._turn(now)
        self._grants += 1
        if self._grants >= HOT:
            for bucket, _ in self.calls:
                bucket.hot_until = now + 2 * SLOT
        self.used_at = now
        return self._grants >= HOT

    def hand_over(self, now: float) -> bool:
        """Let the privileged twin have a unit that is ready, if who waits there comes first. Tells whether it did."""
        twin = self.twin
        if twin is None or not twin.line or (twin.stock and twin.stock[0][0] <= now):
            return False
        if self.line and self.line.heads()[0].place < twin.line.heads()[0].place:
            return False
        if not self.lend(now):
            return False
        if twin.units > 1 and not any(bucket.kept for bucket, _ in self.flow):
            self.add(twin.pass_on(-1), 1)  # what was leased for the twin is for those who are passed
        return True

    def lend(self, now: float) -> bool:
        """Let the privileged twin have a unit that is ready. Tells whether there is one."""
        if self.is_privileged or self.twin is None or not (self.stock and self.stock[0][0] <= now):
            return False
        self.twin.add(self.pass_on(0), 1)
        return True

    def pass_on(self, place: int) -> float:
        """A unit goes to another lane. Returns the instant from which it may be used."""
        block = self.stock[place]
        block[1] -= 1
        self.units -= 1
        if block[1] <= 0:
            del self.stock[place]
        return block[0]

    def add(self, ready_at: float, units: int) -> None:
        """Units were leased."""
        insort(self.stock, [ready_at, units])
        self.units += units

    def drop(self, units: int) -> None:
        """Return the last units; the server is told with the next exchange."""
        units = min(units, self.units)
        self.units -= units
        for bucket, cost in self.flow:
            if bucket.kind != "penalty":
                bucket.out -= units * cost
                bucket.give_up(units * cost)
        while units:
            last = self.stock[-1]
            part = min(units, int(last[1]))
            last[1] -= part
            units -= part
            if last[1] <= 0:
                del self.stock[-1]

    def demand(self, now: float) -> int:
        """Grants in the last slot, if they were many and nobody else wants some; else 0."""
        self._turn(now)
        if any(bucket.fair is not None for bucket, _ in self.flow):
            return 0
        grants = max(self._grants, self._grants_before)
        return grants if grants >= HOT else 0

    def _turn(self, now: float) -> None:
        slot = int(now / SLOT)
        if slot != self._slot:
            self._grants_before = self._grants if slot == self._slot + 1 else 0
            self._grants, self._slot = 0, slot
