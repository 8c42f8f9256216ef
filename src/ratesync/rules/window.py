"""The sliding window of a rate, counted so that a provider never counts more than is allowed.

A provider counts a call at some moment between its start and its end, so the call is counted here from its start until
``per`` seconds after its *end*. That is longer than needed: an old call must come back and a new one get there, and
both together take hardly less than the shortest round trip. So permits are freed earlier by a credit: nine tenths of
that, less a slack, as calls of a bunch wait for each other in the event loops of both sides, and so does each of them.

What others use is learnt from what the provider tells. While it is not known what was used before, calls go one at a
time, so that no more than one of them can be refused.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.model.quota import Rate
from ratesync.rules.credit import Credit

EXACT_PERMITS = 2_000
"""Up to this limit each end of a call is kept by itself."""

SUB_WINDOWS = 64
"""Above it, calls that end in the same 64th of the window are kept together, until the last one of them is free."""

TOLD_FOR = 600.0
"""Seconds for which a limit is remembered that a provider told and that is below the declared one."""

LONGEST_CALL = 60.0
"""Seconds for which permits that came free are remembered, as an answer may still tell of the time before."""


@define(eq=False, kw_only=True)
class Window:
    """The permits of one rate that are used at one scope. A :class:`~ratesync.rules.meter.Meter`."""

    permits: int
    """Most permits in any window, as declared."""
    per: float
    """Length of the window in seconds."""
    grain: float = 0.0
    """Ends of calls within so many seconds are kept together; 0.0 keeps each by itself."""
    doubt_until: float = -math.inf
    """Until this instant, from ``others_until`` on, calls go one at a time: somebody else may have used permits."""
    limit: int = field(init=False)
    """Most permits now: less than declared where the provider tells so."""
    under_way: int = 0
    """Permits of calls that have not ended."""
    spent: int = 0
    """Permits of calls that have ended, as far as they are in ``ends``."""
    ends: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]])
    """When calls ended and how many permits they had, oldest first. Some may have left the window already."""
    gone: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]])
    """When permits came free, of late; kept only while the provider tells how the quota stands."""
    last_began_at: float = -math.inf
    """The first end of those kept together in the last element of ``ends``."""
    others: int = 0
    """Permits that others use, until ``others_until``."""
    others_until: float = -math.inf
    read_at: float = -math.inf
    """When the call was granted whose answer told last how the quota stands."""
    credit: Credit = field(init=False)
    counted_for: float = field(init=False)
    """Seconds for which a call is still counted after its end."""

    def __attrs_post_init__(self) -> None:
        self.credit = Credit(self.per)
        self.counted_for = self.per
        self.limit = self.permits

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now."""
        room = self.limit - kept - cost
        if self.under_way + self.spent + self.others > room:
            self._forget(now)
            if self.under_way + self.spent + self.others > room:
                return False
        if self.under_way and self.others_until <= now < self.doubt_until:
            return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made."""
        self.under_way -= cost

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call ended: its permits stay counted until the window has passed."""
        self.counted_for = self.credit.learn(now - granted_at, now)
        self.under_way -= cost
        self.spent += charged
        if self.ends and now - self.last_began_at <= self.grain:
            charged += self.ends.pop()[1]
        else:
            self.last_began_at = now
        self.ends.append((now, charged))

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """What the provider counts more than we do, others use; a limit below the declared one is kept."""
        if granted_at < self.read_at:
            return False  # an answer that came later told of a later time
        before = self.limit, self.others, self.doubt_until
        self._take_in(reading, granted_at, now)
        return before != (self.limit, self.others, self.doubt_until)

    def _take_in(self, reading: Reading, granted_at: float, now: float) -> None:
        self.read_at = granted_at
        limit = self.permits if reading.limit is None else max(1, reading.limit)
        self.limit = min(self.permits, limit)
        if reading.remaining is None:
            return
        self._forget(now)
        own = self.under_way + self.spent + self._freed_since(granted_at)
        self.doubt_until = -math.inf
        others = max(0, limit - reading.remaining - own)
        if others < self.others:
            return  # the least that they use, as calls under way may not have been counted yet
        self.others = others
        self.others_until = now + self.per
        if self.others and reading.reset_after is not None and reading.reset_after < self.per:
            # Some of it comes free then; how much, the next answer tells.
            self.others_until = now + reading.reset_after
            self.doubt_until = now + self.per

    def _freed_since(self, at: float) -> int:
        # What came free at that very instant, the provider had forgotten when the next call arrived.
        return sum(cost for _, cost in takewhile(lambda freed: freed[0] > at, reversed(self.gone)))

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """A refusal in doubt says that the window is full; any other one that calls come closer than thought."""
        if now < self.doubt_until and now >= self.others_until:
            self.others = max(0, self.limit - self.under_way - self.spent)
            self.others_until, self.doubt_until = self.doubt_until, -math.inf
        elif not self.others:
            self.credit.refuse(now)
            self.counted_for = self.credit.counted_for

    def goes_alone(self, now: float) -> bool:
        """Tell whether the next call must wait for one that is under way, as it is not known what was used before."""
        return self.under_way > 0 and self.others_until <= now < self.doubt_until

    def used(self, now: float) -> int:
        """Permits in use now: of calls under way, of those that ended within the window, and others'."""
        self._forget(now)
        return self.under_way + self.spent + self.others

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is counted any more."""
        return self.used(now) == 0 and (self.limit == self.permits or self.read_at + TOLD_FOR <= now)

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Instant at which permits can be taken if nobody takes or gives back any until then."""
        free_at = self._without(self.used(now) + cost - self.limit + kept, now)
        return max(free_at, self.doubt_until) if self.under_way and free_at >= self.others_until else free_at

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Surely not before this instant, whatever calls under way do."""
        return self._without(self.used(now) - self.under_way + cost - self.limit + kept, now)

    def _forget(self, now: float) -> None:
        ends, gone = self.ends, self.gone
        counted_for = self.counted_for
        while ends and ends[0][0] + counted_for <= now:
            ended_at, cost = ends.popleft()
            self.spent -= cost
            if self.read_at > -math.inf:
                gone.append((ended_at + counted_for, cost))
        while gone and gone[0][0] + LONGEST_CALL < now:
            gone.popleft()
        if self.others and self.others_until <= now:
            self.others = 0

    def _without(self, excess: int, now: float) -> float:
        """Instant at which ``excess`` of the permits that are not under way have come free."""
        if excess <= 0:
            return now
        others = self.others
        for ended_at, cost in self.ends:
            if others and self.others_until <= ended_at + self.counted_for:
                excess, others = excess - others, 0
                if excess <= 0:
                    return self.others_until
            excess -= cost
            if excess <= 0:
                return ended_at + self.counted_for
        return self.others_until if 0 < excess <= others else math.inf


def open_window(rate: Rate, *, doubt_until: float = -math.inf) -> Window:
    """A window in which nothing is used."""
    grain = 0.0 if rate.permits <= EXACT_PERMITS else rate.per / SUB_WINDOWS
    return Window(permits=rate.permits, per=rate.per, grain=grain, doubt_until=doubt_until)
