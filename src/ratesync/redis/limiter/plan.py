"""What to ask the server for: those who wait, in their order, as far as asking makes sense now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import define, field

from ratesync.redis.limiter.book import horizon_of, most_units
from ratesync.redis.limiter.bucket import Bucket
from ratesync.redis.limiter.lane import SLOT, Lane, Waiter
from ratesync.redis.limiter.question import Question

MOST_WANTS = 100
"""Wants in one exchange: a bound for the time that the server takes."""

UNPRIVILEGED, ALL = 1, 2
"""Who is held up at a bucket."""


@define(eq=False)
class Want:
    """A number of units, each of all these costs."""

    lane: Lane
    costs: Sequence[tuple[Bucket, int]]
    units: int
    horizon: float = 0.0
    """Seconds ahead."""
    reuse: int = 0
    """Units that can do with the permits of calls that end soon."""
    asks: bool = False
    """Tell the wait even if nothing is wanted."""
    is_share: bool = False
    """It is all that this worker may lease at once: tell the wait for one more, even if all of it is granted."""
    probe: Waiter | None = None
    """Who asks in ``reserve``."""
    question: Question | None = None
    """Who asks in ``snapshot``."""
    is_stock: bool = True
    """What is granted goes to the lane's stock."""
    given: int = field(default=0, init=False)
    """Units that were granted."""


@define(eq=False)
class Plan:
    """Collects wants. Give it those who wait, first come first."""

    now: float
    workers: int = 1
    lead: float = 0.0
    """Seconds before an instant at which the server has to be asked for what comes free then."""
    wants: list[Want] = field(factory=list[Want], init=False)
    next_ask: float = field(default=math.inf, init=False)
    """When somebody should be asked for who is not now."""
    _blocked: dict[Bucket, int] = field(factory=dict[Bucket, int], init=False)
    _current: dict[Lane, Want] = field(factory=dict[Lane, Want], init=False)
    _last: dict[Bucket, Want] = field(factory=dict[Bucket, Want], init=False)
    needed: dict[Bucket, int] = field(factory=dict[Bucket, int], init=False)
    """Permits of calls for those who wait for nothing else: idle ones are for them first."""
    _covered: dict[Lane, int] = field(factory=dict[Lane, int], init=False)

    def add_all(self, waiters: Iterable[Waiter]) -> None:
        """Those who wait in ``acquire``."""
        for waiter in waiters:
            if len(self.wants) >= MOST_WANTS:
                self.next_ask = self.now
                break
            self._add(waiter)

    def _add(self, waiter: Waiter) -> None:
        lane = waiter.lane
        if self._is_blocked(lane):
            self._hold_up(lane, self._passed_on(lane))
            self._ask_for_deadline(waiter)
            return
        covered = self._covered.get(lane, 0)
        if covered < lane.units:
            self._covered[lane] = covered + 1
            if self._lacks_calls(lane) and lane.is_due(self.now):
                self._want(lane, lane.calls, is_stock=False)
            return
        closed_until = lane.closed_until()
        if closed_until > self.now or not lane.is_due(self.now):
            self.next_ask = min(self.next_ask, max(lane.asks_at, closed_until))
            self._hold_up(lane, UNPRIVILEGED if lane.is_reserved and not lane.is_privileged else ALL)
            self._ask_for_deadline(waiter)
            return
        if lane.stock and lane.stock[-1][0] - self.lead > self.now:
            # Whoever comes later is served later: ask when what is leased comes to its end.
            self.next_ask = min(self.next_ask, lane.stock[-1][0] - self.lead)
            self._hold_up(lane, ALL)
            self._ask_for_deadline(waiter)
            return
        want = self._want(lane, lane.costs, is_stock=True)
        if want.units >= most_units(lane, self.workers):
            self._hold_up(lane, ALL)  # the rest with the next exchange

    def _lacks_calls(self, lane: Lane) -> bool:
        """Whether one more unit in stock needs more permits of calls than this process holds idle."""
        lacks = False
        for bucket, cost in lane.calls:
            needed = self.needed[bucket] = self.needed.get(bucket, 0) + cost
            lacks = lacks or needed > bucket.idle
        return lacks

    def _want(self, lane: Lane, costs: Sequence[tuple[Bucket, int]], *, is_stock: bool) -> Want:
        want = self._current.get(lane)
        if want is not None and want.is_stock is is_stock and all(self._last[bucket] is want for bucket, _ in costs):
            want.units += 1
            return want
        want = self._current[lane] = Want(lane, costs, 1, SLOT, is_stock=is_stock)
        if is_stock:
            want.horizon = horizon_of(lane, self.workers)
            want.reuse = lane.demand(self.now) if lane.flow else 0
        for bucket, _ in costs:
            self._last[bucket] = want
        self.wants.append(want)
        return want

    def _ask_for_deadline(self, waiter: Waiter) -> None:
        """Who has a deadline wants to know early whether it is sure to pass."""
        if waiter.deadline < math.inf and waiter.lane.wait is None and len(self.wants) < MOST_WANTS:
            self.wants.append(Want(waiter.lane, waiter.lane.costs, 0, asks=True))

    def _is_blocked(self, lane: Lane) -> bool:
        level = ALL if lane.is_privileged else UNPRIVILEGED
        return any(self._blocked.get(bucket, 0) >= level for bucket, _ in lane.costs)

    def _passed_on(self, lane: Lane) -> int:
        """Whom a blocked lane holds up: who lacks only kept permits, or waits behind such, lets those pass that may."""
        if lane.is_privileged or any(self._blocked.get(bucket, 0) >= ALL for bucket, _ in lane.costs):
            return ALL
        if lane.wait is None and len(self.wants) < MOST_WANTS and self._is_watched(lane):
            self.wants.append(Want(lane, lane.costs, 0, asks=True))
        return ALL if lane.wait is not None and not lane.is_reserved else UNPRIVILEGED

    @staticmethod
    def _is_watched(lane: Lane) -> bool:
        """Whether somebody who may have kept permits waits behind it."""
        return any(head.priority > 0 for bucket, _ in lane.costs if bucket.line for head in bucket.line.heads())

    def _hold_up(self, lane: Lane, level: int) -> None:
        for bucket, _ in lane.costs:
            self._blocked[bucket] = max(level, self._blocked.get(bucket, 0))

    def add_probe(self, probe: Waiter) -> None:
        """Somebody in ``reserve``: behind all who wait."""
        lane = probe.lane
        if not self._is_blocked(lane) and may_pass(lane):
            self.wants.append(Want(lane, lane.costs, 1, asks=True, probe=probe))
            return
        all_wanted = [
            (bucket, max(cost, int(min(bucket.most_for(probe.priority), cost + bucket.line.wanted))))
            for bucket, cost in lane.costs
        ]
        self.wants.append(Want(lane, all_wanted, 0, asks=True, probe=probe))

    def lease_ahead(self) -> None:
        """Where demand is high, ask for what will be wanted soon."""
        for want in self._current.values():
            if want.is_stock:
                most = most_units(want.lane, self.workers)
                if want.lane.flow and want.lane not in self._covered and not self._is_blocked(want.lane):
                    want.units = max(want.units, min(want.lane.demand(self.now), most))
                want.is_share = want.units >= most


def may_pass(lane: Lane) -> bool:
    """Whether nobody waits for any of it, or only for permits that are kept from them and not from this lane."""
    for bucket, _ in lane.costs:
        if not bucket.line:
            continue
        if not lane.is_privileged:
            return False
        if any(head.priority > 0 or not head.lane.is_reserved for head in bucket.line.heads()):
            return False
    return True
