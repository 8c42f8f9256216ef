"""Windows that begin at set instants, all permits free again: a provider's minute, hour, day or month.

The provider counts a call at some moment between its start and its end, so one that is under way when a window begins
counts in both. The two clocks differ, so for a moment before and after that instant nobody knows which window a call is
counted in: calls that end then count in both, and the next window's permits are granted only after it. That costs
nothing as long as a window's permits can be used up in the rest of it.
"""

from __future__ import annotations

import math

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.model.quota import Budget, FixedWindow
from ratesync.rules.calendar import NextStart, budget_starts, starts_every, window_starts
from ratesync.rules.window import TOLD_FOR

GUARD = 0.02
MOST_GUARD = 0.25
"""By how much the clocks may differ: this share of a window, but at most so many seconds."""

ROUNDING = 1.0
"""Seconds by which a told instant may be rounded, as most are told in whole seconds."""


@define(eq=False, kw_only=True)
class CountedWindow:
    """The permits of the window that has begun. A :class:`~ratesync.rules.meter.Meter`."""

    permits: int
    """Most permits in a window, as declared."""
    next_start: NextStart
    guard: float
    """Seconds by which the provider's clock may differ."""
    ends_between: tuple[float, float]
    """The earliest and the latest instant at which the window may end by the provider's clock."""
    per: float | None = None
    """Seconds from one start to the next, where the provider may tell when; None: only the calendar tells."""
    doubt_until: float = -math.inf
    """Until this instant calls go one at a time, as somebody else may have used permits before."""
    under_way: int = 0
    """Permits of calls that have not ended."""
    spent: int = 0
    """Permits of calls that ended in this window."""
    carried: int = 0
    """Those of them that the next window may count too."""
    others: int = 0
    """Permits that others used in this window."""
    began_at: float = -math.inf
    """Latest instant at which this window may have begun."""
    read_at: float = -math.inf
    """When the call was granted whose answer told last how the window stands."""
    limit: int = field(init=False)
    """Most permits now: less than declared where the provider tells so."""

    def __attrs_post_init__(self) -> None:
        self.limit = self.permits

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now."""
        self._turn(now)
        if self.under_way + self.spent + self.others + cost > self.limit - kept:
            return False
        if self.under_way and now < self.doubt_until:
            return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made."""
        self.under_way -= cost

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call ended: it counts in this window, and in the next one if that may have begun."""
        self._turn(now)
        self.under_way -= cost
        self.spent += charged
        if now >= self.ends_between[0]:
            self.carried += charged

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """What the provider counts more than we do, others used. It also knows when its window ends."""
        self._turn(now)
        if granted_at < max(self.read_at, self.began_at):
            return False
        before = self.limit, self.others, self.doubt_until, self.ends_between
        self._take_in(reading, granted_at, now)
        return before != (self.limit, self.others, self.doubt_until, self.ends_between)

    def _take_in(self, reading: Reading, granted_at: float, now: float) -> None:
        self.read_at = granted_at
        limit = self.permits if reading.limit is None else max(1, reading.limit)
        self.limit = min(self.permits, limit)
        if reading.reset_after is not None and self.per is not None:
            told = granted_at + reading.reset_after - ROUNDING, now + reading.reset_after + ROUNDING
            self._narrow(told, now, self.per)
        if reading.remaining is not None:
            # Calls under way may not have been counted yet, so this is the least that others used.
            self.others = max(self.others, limit - reading.remaining - self.under_way - self.spent)
            self.doubt_until = -math.inf

    def _narrow(self, told: tuple[float, float], now: float, per: float) -> None:
        """The window ends between these instants, too."""
        narrowed = max(told[0], self.ends_between[0]), min(told[1], self.ends_between[1])
        is_contradiction = narrowed[0] > narrowed[1]
        if is_contradiction:  # the provider knows best
            narrowed = told
        if narrowed[1] - narrowed[0] < per / 2:
            if is_contradiction:
                self.carried = self.spent if now >= told[0] else 0
            self.ends_between = narrowed
            self.guard = (narrowed[1] - narrowed[0]) / 2
            self.next_start = starts_every(per, narrowed[0] + self.guard)

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """Where it is sure, or nothing was known, the window is used up until the next one begins."""
        self._turn(now)
        if granted_at < self.began_at:
            return  # it may have been for the window before
        if is_sure or now < self.doubt_until:
            self.others = max(0, self.limit - self.under_way - self.spent)
            self.doubt_until = -math.inf

    def goes_alone(self, now: float) -> bool:
        """Tell whether the next call must wait for one that is under way, as it is not known what was used before."""
        return self.under_way > 0 and now < self.doubt_until

    def used(self, now: float) -> int:
        """Permits in use in this window, others' too."""
        self._turn(now)
        return self.under_way + self.spent + self.others

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is counted any more."""
        return self.used(now) == 0 and (self.limit == self.permits or self.read_at + TOLD_FOR <= now)

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Instant at which permits can be taken if nobody takes or gives back any until then."""
        free_at = self._free_at(self.under_way, cost + kept, now)
        return max(free_at, self.doubt_until) if self.under_way else free_at

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Surely not before this instant, whatever calls under way do."""
        return self._free_at(0, cost + kept, now)

    def _free_at(self, under_way: int, cost: int, now: float) -> float:
        self._turn(now)
        if under_way + self.spent + self.others + cost <= self.limit:
            return now
        next_at = self.ends_between[1]
        if under_way + self.carried + cost <= self.limit:
            return next_at
        return self._end_after(next_at)[1] if under_way + cost <= self.limit else math.inf

    def _turn(self, now: float) -> None:
        """Begin the next window if this one has surely ended."""
        while now >= self.ends_between[1]:
            self.began_at = self.ends_between[1]
            self.spent, self.carried, self.others = self.carried, 0, 0
            self.ends_between = self._end_after(self.began_at)
            if now >= self.ends_between[1]:  # that one has ended too, with nothing of ours in it
                self.spent = 0
                self.ends_between = self._end_after(now)

    def _end_after(self, at: float) -> tuple[float, float]:
        start = self.next_start(at)
        return start - self.guard, start + self.guard


def open_fixed_window(quota: FixedWindow, now: float, *, doubt_until: float) -> CountedWindow:
    """The window that is on, in which nothing is used."""
    guard = min(GUARD * quota.per, MOST_GUARD)
    window = _open(quota, window_starts(quota), guard, now)
    window.per, window.doubt_until = quota.per, min(doubt_until, window.ends_between[1])
    return window


def open_budget(quota: Budget, now: float) -> CountedWindow:
    """The day or month that is on, of which nothing is used."""
    return _open(quota, budget_starts(quota), MOST_GUARD, now)


def _open(quota: FixedWindow | Budget, next_start: NextStart, guard: float, now: float) -> CountedWindow:
    start = next_start(now)
    return CountedWindow(
        permits=quota.permits, next_start=next_start, guard=guard, ends_between=(start - guard, start + guard)
    )
