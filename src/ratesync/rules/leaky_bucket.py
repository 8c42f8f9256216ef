"""A provider's leaky bucket: it holds so many permits, and restores some each second.

A call is counted as not yet restored while it is under way, since the provider takes its permits at some moment between
its start and its end; they begin to come back at its end. So never more is thought to be there than is.
"""

from __future__ import annotations

import math

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.model.quota import LeakyBucket
from ratesync.rules.window import TOLD_FOR


@define(eq=False, kw_only=True)
class Bucket:
    """The permits of one bucket that are used at one scope. A :class:`~ratesync.rules.meter.Meter`."""

    permits: int
    """What the bucket holds, as declared."""
    restore: float
    """Permits that come back each second."""
    missing: float = 0.0
    """Permits that are not back yet, at ``counted_at``."""
    counted_at: float = 0.0
    is_in_doubt: bool = False
    """What is missing is only feared: what the provider tells replaces it."""
    under_way: int = 0
    """Permits of calls that have not ended."""
    read_at: float = -math.inf
    """When the call was granted whose answer told last how the bucket stands."""
    ended_at: tuple[float, float] = (-math.inf, -math.inf)
    """When the last two calls ended."""
    limit: int = field(init=False)
    """What the bucket holds now: less than declared where the provider tells so."""

    def __attrs_post_init__(self) -> None:
        self.limit = self.permits

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now."""
        if self.under_way + self._missing(now) + cost > self.limit - kept:
            return False
        self.under_way += cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made."""
        self.under_way -= cost

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call ended: what it was charged begins to come back."""
        self.missing = self._missing(now) + charged
        self.under_way -= cost
        self.ended_at = self.ended_at[1], now

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """What the provider finds missing beyond our own calls, others took."""
        if granted_at < self.read_at:
            return False
        before = self.limit, self._missing(now), self.is_in_doubt
        self._take_in(reading, granted_at, now)
        return before != (self.limit, self.missing, self.is_in_doubt)

    def _take_in(self, reading: Reading, granted_at: float, now: float) -> None:
        self.read_at = granted_at
        limit = self.permits if reading.limit is None else max(1, reading.limit)
        self.limit = min(self.permits, limit)
        if reading.remaining is None:
            return
        told = limit - reading.remaining
        own = self._missing(now)
        if self.is_in_doubt and self.ended_at[0] <= granted_at:  # else a call ended meanwhile that may not be in it
            self.is_in_doubt = False
            own = min(own, told)
        # Told at some moment since the grant, so some of it may be back. Where in doubt, none is taken for that.
        self.missing = max(told - (now - granted_at) * self.restore - self.under_way, own)

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """Where it is sure that this bucket was empty, it is."""
        if is_sure:
            self._missing(now)
            self.missing = max(self.missing, float(self.limit - self.under_way))

    def goes_alone(self, now: float) -> bool:
        """Calls need not go one at a time."""
        return False

    def used(self, now: float) -> int:
        """Permits of calls under way and of those that are not back yet."""
        return self.under_way + math.ceil(self._missing(now))

    def is_idle(self, now: float) -> bool:
        """Tell whether the bucket is full."""
        is_full = self.under_way == 0 and self._missing(now) <= 0.0
        return is_full and (self.limit == self.permits or self.read_at + TOLD_FOR <= now)

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Instant at which permits can be taken if nobody takes or gives back any until then."""
        return self._restored_at(self.limit - kept - cost - self.under_way, now)

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Surely not before this instant, whatever calls under way do."""
        return self._restored_at(self.limit - kept - cost, now)

    def _missing(self, now: float) -> float:
        self.missing = max(0.0, self.missing - (now - self.counted_at) * self.restore)
        self.counted_at = now
        return self.missing

    def _restored_at(self, most_missing: int, now: float) -> float:
        """Instant at which no more than ``most_missing`` permits are missing."""
        missing = self._missing(now)
        if missing <= most_missing:
            return now
        if most_missing < 0:
            return math.inf
        # A little later, so that rounding does not find a billionth of a permit still missing.
        return now + (missing - most_missing) / self.restore + 1e-6


def open_bucket(quota: LeakyBucket, now: float, alone_since: float) -> Bucket:
    """A full bucket; an empty one, and filling since then, if others may have used it before ``alone_since``."""
    feared = max(0.0, quota.permits - (now - alone_since) * quota.restore)
    return Bucket(
        permits=quota.permits, restore=quota.restore, missing=feared, counted_at=now, is_in_doubt=feared > 0.0
    )
