"""Calls under way at the same time, counted against a bound."""

from __future__ import annotations

import math

from attrs import define


@define(eq=False)
class Occupancy:
    """The permits of one concurrency quota that are used at one scope.

    It answers the same questions as :class:`ratesync.rules.window.Window`, changes in place as that does, and is as
    deterministic. Time plays no part: what is used comes free when a call ends, never by waiting.
    """

    permits: int
    """Most permits in use at the same time."""
    under_way: int = 0
    """Permits of calls that have not ended."""

    def take(self, cost: int, now: float) -> bool:
        """Take ``cost`` permits for a call that starts now. False: they are not free, nothing was taken."""
        if self.under_way + cost > self.permits:
            return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made: its permits are free at once."""
        self.under_way -= cost

    def settle(self, cost: int, started_at: float, now: float) -> None:
        """The call ended: its permits are free at once."""
        self.under_way -= cost

    def used(self, now: float) -> int:
        """Permits of calls under way."""
        return self.under_way

    def is_idle(self, now: float) -> bool:
        """Tell whether no call is under way."""
        return self.under_way == 0

    def free_at(self, cost: int, now: float) -> float:
        """``now`` if ``cost`` permits are free, else infinity: that depends on a call under way."""
        return now if self.under_way + cost <= self.permits else math.inf

    def earliest_at(self, cost: int, now: float) -> float:
        """``now``: any call under way might end at once."""
        return now
