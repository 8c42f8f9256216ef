"""Quotas that count in windows: until when does a call count that ends now?"""

from __future__ import annotations

import math

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.model.quota import Budget, FixedWindow
from ratesync.redis.limiter.bucket import Bucket, reading_limit
from ratesync.redis.server.clock import BASE, ServerClock
from ratesync.rules.calendar import starts_every
from ratesync.rules.credit import Credit
from ratesync.rules.fixed_window import CountedWindow, open_budget, open_fixed_window

DAY = 86_400.0

LONGEST_PATIENCE = 3.0
"""Seconds for which ended calls are kept to be reported with others."""

FEW = 500
"""Permits up to which grains of time are a tenth as long: the log stays short all the same."""


@define(eq=False)
class Window(Bucket):
    """Permits of ended calls are counted until an instant that is known when they end."""

    grain: float = 0.001
    """Seconds."""

    kind = "window"

    @property
    def patience(self) -> float:
        """Long before it comes free, nobody else needs to know of a permit."""
        return min(self.span * 0.45, LONGEST_PATIENCE)

    def settle(self, cost: int, charged: int, granted_at: float, now: float, clock: ServerClock) -> None:
        """The call ended: its permits are in the log until they are free."""
        self.in_use -= cost
        self.out -= cost
        self.unreported += cost
        index = math.ceil(self.free_at(granted_at, now, clock) / self.grain)
        log = self.reporting().log
        log[index] = log.get(index, 0) + charged

    def free_at(self, granted_at: float, now: float, clock: ServerClock) -> float:
        """The server's instant from which a call does not count that ends now."""
        raise NotImplementedError


@define(eq=False)
class RateWindow(Window):
    """A sliding window."""

    credit: Credit = field(kw_only=True)

    def free_at(self, granted_at: float, now: float, clock: ServerClock) -> float:
        """A window after the call's end, less the credit."""
        return clock.latest(now) + self.credit.learn(now - granted_at, now)

    def round_trip(self) -> float:
        """The shortest round trip so far; -1 if none is known."""
        return self.credit.shortest if self.credit.round_trips else -1

    def adopt(self, state: list[float], clock: ServerClock, now: float) -> None:
        """No more credit than the nearest of all workers may have."""
        super().adopt(state, clock, now)
        if state[4] >= 0:
            self.credit.shortest = min(self.credit.shortest, state[4])

    def learn(self, reading: Reading, granted_at: float, now: float, clock: ServerClock) -> None:
        """What the provider counts more than we do, others use."""
        told: dict[str, float] = {
            "at": clock.earliest(granted_at),
            "limit": reading_limit(reading, self.quota),
            "lasts": self.span,
            "doubt": 0,
        }
        if reading.remaining is not None:
            told["remaining"] = reading.remaining
        if reading.reset_after is not None and reading.reset_after < self.span:
            # Some of it comes free then; how much, the next answer tells.
            told["lasts"], told["doubt"] = reading.reset_after, self.span
        self.reporting().readings.append(told)

    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """A refusal in doubt says that the window is full; any other one that calls come closer than thought."""
        if not (self.is_doubtful or self.has_others):
            self.credit.refuse(now)
        self.reporting().refused = 1


@define(eq=False)
class CalendarWindow(Window):
    """Windows that begin at set instants. The calendar is asked with the server's time, so that all workers agree."""

    calendar: CountedWindow | None = field(default=None, init=False)
    """Used for its calendar only."""

    def turned(self, clock: ServerClock, now: float) -> tuple[CountedWindow, float]:
        """The window that is on, and the server's time."""
        at = clock.latest(now) + BASE
        if self.calendar is None:
            match self.quota:
                case Budget():
                    self.calendar = open_budget(self.quota, at)
                case FixedWindow():
                    self.calendar = open_fixed_window(self.quota, at, doubt_until=-math.inf)
                case _:
                    raise TypeError(f"{self.quota} has no calendar")
        self.calendar.used(at)
        return self.calendar, at

    def ends(self, clock: ServerClock, now: float) -> float:
        """The server's instant at which the window that is on has surely ended."""
        return self.turned(clock, now)[0].ends_between[1] - BASE

    def free_at(self, granted_at: float, now: float, clock: ServerClock) -> float:
        """The end of the window, or of the next one if that may have begun."""
        calendar, at = self.turned(clock, now)
        earliest, latest = calendar.ends_between
        return (latest if at < earliest else calendar.next_start(latest) + calendar.guard) - BASE

    def learn(self, reading: Reading, granted_at: float, now: float, clock: ServerClock) -> None:
        """What the provider counts more than we do, others used. It also knows when its window ends."""
        calendar, at = self.turned(clock, now)
        granted = clock.earliest(granted_at) + BASE
        if granted < calendar.began_at:
            return
        before = calendar.ends_between
        calendar.learn(Reading(reset_after=reading.reset_after, per=reading.per), granted, at)
        told: dict[str, float] = {
            "at": granted - BASE,
            "limit": reading_limit(reading, self.quota),
            "lasts": calendar.ends_between[1] - at,
            "doubt": 0,
        }
        if calendar.ends_between != before:
            told["lo"], told["hi"] = (end - BASE for end in calendar.ends_between)
        if reading.remaining is not None:
            told["remaining"] = reading.remaining
        self.reporting().readings.append(told)

    def adopt(self, state: list[float], clock: ServerClock, now: float) -> None:
        """When windows begin is known to all as soon as one was told."""
        super().adopt(state, clock, now)
        lo, hi = state[5], state[6]
        if hi > 0 and isinstance(self.quota, FixedWindow):
            calendar, at = self.turned(clock, now)
            passed = max(0, math.ceil((at - BASE - hi) / self.quota.per)) * self.quota.per + BASE
            if (hi - lo) / 2 < calendar.guard:
                calendar.guard = (hi - lo) / 2
                calendar.ends_between = (lo + passed, hi + passed)
                calendar.next_start = starts_every(self.quota.per, lo + passed + calendar.guard)

    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """Where it is sure, or nothing was known, the window is used up until the next one begins."""
        calendar, _ = self.turned(clock, now)
        if clock.earliest(granted_at) + BASE < calendar.began_at:
            return  # it may have been for the window before
        report = self.reporting()
        report.refused = max(report.refused, 2 if is_sure else 1)
