"""Where the windows of a quota begin by the clock and the calendar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ratesync.model.quota import Budget, FixedWindow, Period, zone_of

NextStart = Callable[[float], float]
"""The first instant after the given one at which a window begins."""


def window_starts(quota: FixedWindow) -> NextStart:
    """Midnight in the quota's zone, and every ``per`` seconds after it."""
    zone = zone_of(quota.zone)

    def next_start(now: float) -> float:
        midnight = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
        begun = midnight.timestamp()
        return min(_next_of(begun, quota.per, now), _following(midnight, Period.DAY).timestamp())

    return next_start


def budget_starts(quota: Budget) -> NextStart:
    """``resets_at`` seconds after midnight of each day, or of each first day of a month, in the quota's zone."""
    zone = zone_of(quota.zone)
    late = timedelta(seconds=quota.resets_at)

    def next_start(now: float) -> float:
        # Wall clock arithmetic: a day with a change of the clocks has 23 or 25 hours.
        day = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if quota.every is Period.MONTH:
            day = day.replace(day=1)
        while _after(day, late) <= now:
            day = _following(day, quota.every)
        return _after(day, late)

    return next_start


def starts_every(per: float, one_start: float) -> NextStart:
    """Every ``per`` seconds, ``one_start`` among them."""

    def next_start(now: float) -> float:
        return _next_of(one_start, per, now)

    return next_start


def _next_of(one_start: float, per: float, now: float) -> float:
    start = one_start + ((now - one_start) // per + 1) * per
    return start if start > now else start + per  # rounding can find the start that is now


def _after(midnight: datetime, late: timedelta) -> float:
    return (midnight + late).astimezone(UTC).timestamp()


def _following(midnight: datetime, period: Period) -> datetime:
    if period is Period.MONTH:
        return midnight.replace(year=midnight.year + midnight.month // 12, month=midnight.month % 12 + 1)
    return midnight + timedelta(days=1)
