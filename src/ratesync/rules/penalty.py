"""Providers that refuse everything for a while after one refusal."""

from __future__ import annotations

import math

from attrs import define

from ratesync.model.feedback import Reading


@define(eq=False)
class PenaltyBox:
    """Holds every call for ``seconds`` after a refusal. A :class:`~ratesync.rules.meter.Meter` without permits."""

    seconds: float
    held_until: float = -math.inf

    @property
    def limit(self) -> None:
        """No cost is too high."""
        return

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Tell whether the penalty is over."""
        return now >= self.held_until

    def refund(self, cost: int) -> None:
        """Nothing was taken."""

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """Nothing was taken."""

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """A reading says nothing of penalties."""
        return False

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """The penalty begins, or begins again."""
        self.held_until = now + self.seconds

    def goes_alone(self, now: float) -> bool:
        """Calls need not go one at a time."""
        return False

    def used(self, now: float) -> int:
        """Nothing is counted."""
        return 0

    def is_idle(self, now: float) -> bool:
        """Tell whether the penalty is over."""
        return now >= self.held_until

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """The end of the penalty."""
        return max(now, self.held_until)

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """The end of the penalty."""
        return max(now, self.held_until)
