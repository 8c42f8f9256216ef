"""Meters: how much of one quota is used at one scope. Each kind of quota has its own, with the same questions.

Meters change in place, as they are the hottest path of a limiter, but nothing here reads a clock or has another effect:
equal steps on equal meters give equal meters and answers. Instants given to one meter must not go backwards.
"""

from __future__ import annotations

from typing import Protocol

from ratesync.model.feedback import Reading
from ratesync.model.quota import Budget, Concurrency, FixedWindow, LeakyBucket, Penalty, Quota, Rate
from ratesync.rules.adaptive import AdaptiveWindow
from ratesync.rules.concurrency import Occupancy
from ratesync.rules.fixed_window import open_budget, open_fixed_window
from ratesync.rules.leaky_bucket import open_bucket
from ratesync.rules.penalty import PenaltyBox
from ratesync.rules.window import open_window

LONGEST_DOUBT = 60.0
"""Seconds for which calls are let through one at a time at most, as it is not known what was used before."""


class Meter(Protocol):
    """How much of one quota is used at one scope.

    ``cost`` is a number of permits. ``kept`` is how many permits are kept back from who asks. Every ``take`` that gave
    permits is followed by one ``refund`` or ``settle``.
    """

    @property
    def limit(self) -> int | None:
        """Most permits that can be had now; None for no limit. A greater cost is never granted."""
        ...

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now. False: they are not free, nothing was taken."""
        ...

    def refund(self, cost: int) -> None:
        """The call was not made: its permits are free at once."""
        ...

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call that took ``cost`` at ``granted_at`` ended now, and the provider charged ``charged``."""
        ...

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """The answer of a call that was granted at ``granted_at`` and ended now told how the quota stands.

        Tell whether that changes what can be had, or when.
        """
        ...

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """The provider refused the call that was granted at ``granted_at`` and settled just now.

        ``is_sure``: because of this quota and no other.
        """
        ...

    def goes_alone(self, now: float) -> bool:
        """Tell whether the next call must wait for one that is under way, as calls go one at a time now."""
        ...

    def used(self, now: float) -> int:
        """Permits in use."""
        ...

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is counted any more, so that the meter may be dropped."""
        ...

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Instant at which ``cost`` permits can be taken if nobody takes or gives back any until then.

        ``now`` if they are free; infinity if they are not free before a call under way ends. ``cost`` must not be above
        ``limit - kept``.
        """
        ...

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """As :meth:`free_at`, should all calls under way be refunded now: surely not before this instant."""
        ...


def open_meter(quota: Quota, now: float, alone_since: float) -> Meter:
    """A meter on which nothing is used.

    ``alone_since`` is the instant before which others may have used the quota, unknown to us.
    """
    meter: Meter
    match quota:
        case Rate():
            meter = open_window(quota, doubt_until=alone_since + min(quota.per, LONGEST_DOUBT))
        case FixedWindow():
            meter = open_fixed_window(quota, now, doubt_until=alone_since + min(quota.per, LONGEST_DOUBT))
        case Budget():
            meter = open_budget(quota, now)
        case LeakyBucket():
            meter = open_bucket(quota, now, alone_since)
        case Concurrency():
            meter = Occupancy(quota.permits)
        case Penalty():
            meter = PenaltyBox(quota.seconds)
        case _:
            meter = AdaptiveWindow(quota.per)
    return meter
