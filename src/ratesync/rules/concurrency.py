"""Calls under way at the same time, counted against a bound."""

from __future__ import annotations

import math

from attrs import define

from ratesync.model.feedback import Reading


@define(eq=False)
class Occupancy:
    """The permits of one concurrency quota that are used at one scope. A :class:`~ratesync.rules.meter.Meter`.

    Time plays no part: what is used comes free when a call ends, never by waiting.
    """

    limit: int
    """Most permits in use at the same time."""
    under_way: int = 0
    """Permits of calls that have not ended."""

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now."""
        if self.under_way + cost > self.limit - kept:
            return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made: its permits are free at once."""
        self.under_way -= cost

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call ended: its permits are free at once."""
        self.under_way -= cost

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """Providers tell of windows and buckets, not of calls under way."""
        return False

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """Others' calls come free at a time that nobody knows."""

    def goes_alone(self, now: float) -> bool:
        """Calls need not go one at a time."""
        return False

    def used(self, now: float) -> int:
        """Permits of calls under way."""
        return self.under_way

    def is_idle(self, now: float) -> bool:
        """Tell whether no call is under way."""
        return self.under_way == 0

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """``now`` if permits are free, else infinity: that depends on a call under way."""
        return now if self.under_way + cost <= self.limit - kept else math.inf

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """``now``: any call under way might end at once."""
        return now
