"""When those come back who were refused under a quota that others want too: one after the other."""

from __future__ import annotations

from typing import TypeVar

from ratesync.model.lane import Lane
from ratesync.model.quota import Demand, FixedWindow, LeakyBucket, Quota, Rate

T = TypeVar("T")

_MOST_PLACES = 1000
"""Places that are remembered before the outdated ones are forgotten."""


class Places:
    """Instants at which one more call will fit, given out in order."""

    def __init__(self) -> None:
        self._last: dict[Demand, float] = {}
        self._of_lane: dict[tuple[Lane, Demand], float] = {}

    def take(self, demand: Demand, now: float, free_at: float) -> float:
        """The next place, behind all those that were given out before."""
        place = max(free_at, self._last.get(demand, 0.0) + _spacing(demand.quota, demand.cost))
        self._last = _current(self._last, now)
        self._last[demand] = place
        return place

    def take_for(self, lane: Lane, demand: Demand, now: float, free_at: float) -> float:
        """As :meth:`take`, but a lane that waits for its place already keeps it."""
        place = self._of_lane.get((lane, demand), 0.0)
        if place <= now:
            place = self.take(demand, now, free_at)
            self._of_lane = _current(self._of_lane, now)
            self._of_lane[lane, demand] = place
        return place


def _spacing(quota: Quota, cost: int) -> float:
    """Seconds from one call to the next where all permits are used."""
    match quota:
        case Rate() | FixedWindow():
            return cost * quota.per / quota.permits
        case LeakyBucket():
            return cost / quota.restore
        case _:
            return 0.0


def _current(places: dict[T, float], now: float) -> dict[T, float]:
    if len(places) < _MOST_PLACES:
        return places
    return {key: at for key, at in places.items() if at > now}
