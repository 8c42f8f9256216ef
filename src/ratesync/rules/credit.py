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
"""No credit before so many round trips were seen, over so many seconds and a whole window (or over two shorter ones).
The first ones build connections, and those of one bunch are slow together."""


@define
class Credit:
    """Learns from round trips how long a call is counted after its end."""

    per: float
    """Length of the window in seconds."""
    shortest: float = math.inf
    """Shortest round trip so far, in seconds, of anybody whose calls are counted with ours."""
    round_trips: int = 0
    """Calls that ended so far."""
    trusted_at: float = math.inf
    """Instant after which round trips have been seen long enough."""
    slack: float = SLACK
    slackened_at: float = -math.inf

    def learn(self, round_trip: float, now: float) -> float:
        """A call ended now that took so many seconds. Returns for how many it is counted."""
        if self.round_trips == 0:
            self.trusted_at = now + min(2 * self.per, max(TRUSTED_AFTER, self.per))
        self.round_trips += 1
        self.shortest = min(self.shortest, round_trip)
        if self.round_trips < TRUSTED_ROUND_TRIPS or now < self.trusted_at:
            return self.per
        gained = CREDIT * self.shortest - self.slack
        return self.per - gained if gained > 0 else self.per

    def refuse(self, now: float) -> None:
        """Calls came closer to each other than thought."""
        if now - self.slackened_at > self.per:
            self.slackened_at = now
            self.slack *= 2

    def counted_for(self, now: float) -> float:
        """Seconds for which a call that ends now is counted."""
        if self.round_trips < TRUSTED_ROUND_TRIPS or now < self.trusted_at:
            return self.per
        return self.per - max(0.0, CREDIT * self.shortest - self.slack)
