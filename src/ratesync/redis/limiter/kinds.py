"""Which kind of bucket each kind of quota has."""

from __future__ import annotations

from ratesync.model.quota import Adaptive, Budget, Concurrency, FixedWindow, LeakyBucket, Period, Quota, Rate, Scope
from ratesync.redis.limiter.bucket import GRAINS, Bucket, LeakyPermits, PenaltyBox
from ratesync.redis.limiter.measured import MeasuredWindow
from ratesync.redis.limiter.windows import DAY, FEW, CalendarWindow, RateWindow
from ratesync.rules.credit import Credit


def open_bucket(scope: Scope, quota: Quota, key: str) -> Bucket:
    """A bucket of which this process holds nothing."""
    match quota:
        case Rate() | FixedWindow() | Budget() | Adaptive():
            return open_window(scope, quota, key)
        case LeakyBucket():
            return LeakyPermits(scope, quota, key, span=quota.permits / quota.restore)
        case Concurrency():
            return Bucket(scope, quota, key)
        case _:
            return PenaltyBox(scope, quota, key, span=quota.seconds)


def open_window(scope: Scope, quota: Rate | FixedWindow | Budget | Adaptive, key: str) -> Bucket:
    """A bucket that counts in windows."""
    match quota:
        case Rate():
            grain = grain_of(quota.per, quota.permits)
            return RateWindow(scope, quota, key, span=quota.per, grain=grain, credit=Credit(quota.per))
        case FixedWindow():
            return CalendarWindow(scope, quota, key, span=quota.per)
        case Budget():
            return CalendarWindow(scope, quota, key, span=DAY if quota.every is Period.DAY else 31 * DAY)
        case Adaptive():
            grain = grain_of(quota.per, FEW + 1)
            return MeasuredWindow(scope, quota, key, span=quota.per, grain=grain, credit=Credit(quota.per))


def grain_of(per: float, permits: int) -> float:
    """Seconds within which calls of a window come free together."""
    return max(1e-4, per / (GRAINS if permits > FEW else 10 * GRAINS))
