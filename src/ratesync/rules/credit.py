"""How much earlier than a whole window after their end calls may be forgotten, as all calls spend time on the way.

See :mod:`ratesync.rules.window`, which tells why.
"""

from __future__ import annotations

import math

from attrs import define

CREDIT = 0.9
"""Share of the shortest round trip that calls surely spend on the way."""

SLACK = 0.003
"""Seconds taken off the credit. It doubles with a refusal, at most once in a window."""

TRUSTED_ROUND_TRIPS = 20
TRUSTED_AFTER = 1.0
"""No credit before so many round trips were seen of calls that began so many seconds after the first one had ended: the
first ones build connections, and those of one bunch are slow together."""


@define
class Credit:
    """Learns from round trips how long a call is counted after its end."""

    per: float
    """Length of the window in seconds."""
    shortest: float = math.inf
    """Shortest round trip so far, in seconds, of anybody whose calls are counted with ours."""
    round_trips: int = 0
    """Calls that ended so far."""
    warm_at: float = math.inf
    """Instant after which calls begin whose round trips are trusted."""
    trusted: int = 0
    """Calls that began after it and have ended."""
    slack: float = SLACK
    slackened_at: float = -math.inf

    def learn(self, round_trip: float, now: float) -> float:
        """A call ended now that took so many seconds. Returns for how many it is counted."""
        if self.round_trips == 0:
            self.warm_at = now + TRUSTED_AFTER
        self.round_trips += 1
        self.shortest = min(self.shortest, round_trip)
        if now - round_trip >= self.warm_at:
            self.trusted += 1
        return self.counted_for

    def refuse(self, now: float) -> None:
        """Calls came closer to each other than thought."""
        if now - self.slackened_at > self.per:
            self.slackened_at = now
            self.slack *= 2

    @property
    def counted_for(self) -> float:
        """Seconds for which a call is counted after its end."""
        if self.trusted < TRUSTED_ROUND_TRIPS:
            return self.per
        return self.per - max(0.0, CREDIT * self.shortest - self.slack)
