"""The sliding window of a rate, counted so that a provider never counts more than is allowed.

A provider counts a call at some moment between its start and its end, so the call is counted here from its start until
``per`` seconds after its *end*. That is a little too long: what the old call needed to come back and the new one needs
to get there is hardly less than the shortest round trip. So slots are freed earlier by a credit: that shortest round
trip, less a tenth and a millisecond for what all calls of a bunch have waited for alike. A log anchored at the start of
the calls is full too, but meets refusals in every window; a guard as long as the worst delay meets none, and wastes it.

Values change in place, as this is the hottest path of a limiter, but nothing here reads a clock or has another effect:
equal steps on equal windows give equal windows and answers. Instants given to one window must not go backwards.
"""

from __future__ import annotations

import math
from collections import deque

from attrs import define, field

from ratesync.model.quota import Rate

CREDIT = 0.9
"""Share of the shortest round trip that calls surely spend on the way,"""

BUNCH = 0.001
"""but for these seconds: calls of a bunch wait for each other in the event loops of both sides, and so does each
of them. What the one needs to come back and the next one to get there can be that much shorter."""

TRUSTED_ROUND_TRIPS = 20
TRUSTED_WINDOWS = 2
"""No credit before so many round trips were seen, over so many windows. The first ones build connections, and those of
one bunch are slow together."""

EXACT_PERMITS = 2_000
"""Up to this limit each end of a call is kept by itself."""

SUB_WINDOWS = 64
"""Above it, calls that end in the same 64th of the window are kept together, until the last one of them is free."""


@define(eq=False, kw_only=True)
class Window:
    """The permits of one rate that are used at one scope. Build it with :func:`open_window`."""

    permits: int
    """Most permits in any window."""
    per: float
    """Length of the window in seconds."""
    grain: float
    """Ends of calls within so many seconds are kept together; 0.0 keeps each by itself."""
    under_way: int = 0
    """Permits of calls that have not ended."""
    spent: int = 0
    """Permits of calls that have ended, as far as they are in ``ends``."""
    ends: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]])
    """When calls ended and how many permits they had, oldest first. Some may have left the window already."""
    last_began_at: float = -math.inf
    """The first end of those kept together in the last element of ``ends``."""
    round_trips: int = 0
    """Calls that ended so far."""
    trusted_at: float = math.inf
    """Instant after which round trips have been seen long enough."""
    shortest: float = math.inf
    """Shortest round trip so far, in seconds."""
    counted_for: float = field(init=False)
    """Seconds for which a call is still counted after its end."""

    def __attrs_post_init__(self) -> None:
        self.counted_for = self.per

    def take(self, cost: int, now: float) -> bool:
        """Take ``cost`` permits for a call that starts now. False: they are not free, nothing was taken."""
        room = self.permits - cost
        if self.under_way + self.spent > room:
            self._forget(now)
            if self.under_way + self.spent > room:
                return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made: its permits are free at once."""
        self.under_way -= cost

    def settle(self, cost: int, started_at: float, now: float) -> None:
        """The call ended now: its permits stay counted until the window has passed."""
        self.under_way -= cost
        self.spent += cost
        self._learn(now - started_at, now)
        if self.ends and now - self.last_began_at <= self.grain:
            cost += self.ends.pop()[1]
        else:
            self.last_began_at = now
        self.ends.append((now, cost))

    def _learn(self, round_trip: float, now: float) -> None:
        if self.round_trips == 0:
            self.trusted_at = now + TRUSTED_WINDOWS * self.per
        self.round_trips += 1
        self.shortest = min(self.shortest, round_trip)
        if self.round_trips >= TRUSTED_ROUND_TRIPS and now >= self.trusted_at:
            self.counted_for = self.per - max(0.0, CREDIT * self.shortest - BUNCH)

    def used(self, now: float) -> int:
        """Permits in use now: of calls under way and of those that ended within the window."""
        self._forget(now)
        return self.under_way + self.spent

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is counted any more, so that the window may be dropped."""
        return self.under_way == 0 and self.used(now) == 0

    def free_at(self, cost: int, now: float) -> float:
        """Instant at which ``cost`` permits can be taken if nobody takes or gives back any until then.

        ``now`` if they are free; infinity if they are not free before a call under way ends. ``cost`` must not be
        above ``permits``.
        """
        return self._without(self.used(now) + cost - self.permits, now)

    def earliest_at(self, cost: int, now: float) -> float:
        """As :meth:`free_at`, should all calls under way be refunded now: surely not before this instant."""
        self._forget(now)
        return self._without(self.spent + cost - self.permits, now)

    def _forget(self, now: float) -> None:
        ends = self.ends
        counted_for = self.counted_for
        while ends and ends[0][0] + counted_for <= now:
            self.spent -= ends.popleft()[1]

    def _without(self, excess: int, now: float) -> float:
        """Instant at which ``excess`` of the spent permits have left the window."""
        if excess <= 0:
            return now
        if excess > self.spent:
            return math.inf
        ends = iter(self.ends)
        ended_at = now
        while excess > 0:
            ended_at, cost = next(ends)
            excess -= cost
        return ended_at + self.counted_for


def open_window(rate: Rate) -> Window:
    """A window in which nothing is used."""
    grain = 0.0 if rate.permits <= EXACT_PERMITS else rate.per / SUB_WINDOWS
    return Window(permits=rate.permits, per=rate.per, grain=grain)
