"""When a limiter that failed is asked again."""

from __future__ import annotations

import math
import random

from attrs import define

from ratesync.clock import MINIMUM_DELAY
from ratesync.model.policy import RetryPolicy
from ratesync.rules.retry import backoff

_LONGEST_REST = 5.0
"""Seconds within which a limiter that is back is surely noticed."""


@define
class Outage:
    """One failure is enough for all lanes: none of them asks before the rest is over, and then one asks first."""

    policy: RetryPolicy
    random: random.Random
    until: float = -math.inf
    """Instant before which nobody asks."""
    failures: int = 0
    """In a row."""

    def begin(self, now: float) -> float:
        """The limiter failed. Seconds for which nobody asks it."""
        self.failures += 1
        rest = min(_LONGEST_REST, backoff(self.policy, self.failures, self.random.random()))
        rest = max(MINIMUM_DELAY, rest)
        self.until = now + rest
        return rest

    def end(self) -> None:
        """The limiter answered."""
        self.failures = 0
