"""All lanes and buckets of one provider that this process uses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ratesync.errors import CostAboveLimit
from ratesync.model.quota import Demand, Quota, Scope
from ratesync.redis.limiter.bucket import Bucket
from ratesync.redis.limiter.kinds import open_bucket
from ratesync.redis.limiter.lane import SLOT, Lane
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.server.clock import ServerClock

KEPT_FOR = 5.0
"""Seconds for which an idle lane is kept, as it may well be used again."""

LEASE = 14
"""Permits in a lease, about, where demand is high: so that exchanges are few."""

LOOKS = 4
"""Lanes looked at for each new one, and buckets too: more than one, so that what is idle goes faster than it comes."""


@define(eq=False)
class Book:
    """Finds lanes and buckets. Those that are idle are dropped little by little, as others come."""

    names: KeyNames
    clock: ServerClock
    lanes: dict[tuple[tuple[Demand, ...], bool], Lane] = field(
        factory=dict[tuple[tuple[Demand, ...], bool], Lane], init=False
    )
    buckets: dict[tuple[Scope, Quota], Bucket] = field(factory=dict[tuple[Scope, Quota], Bucket], init=False)
    by_key: dict[str, Bucket] = field(factory=dict[str, Bucket], init=False)
    _lane_round: deque[tuple[tuple[Demand, ...], bool]] = field(
        factory=deque[tuple[tuple[Demand, ...], bool]], init=False
    )
    _bucket_round: deque[tuple[Scope, Quota]] = field(factory=deque[tuple[Scope, Quota]], init=False)

    def lane(self, demands: tuple[Demand, ...], priority: int, now: float) -> Lane:
        """The lane of a call.

        :raises CostAboveLimit: a cost is above what is ever granted to that priority.
        :raises ValueError: a cost is below 1.
        """
        key = (demands, priority > 0)
        lane = self.lanes.get(key)
        if lane is None:
            lane = Lane(demands, priority > 0, self._costs(demands))
            check_costs(lane, priority)
            for bucket, cost in lane.costs:
                bucket.lanes += 1
                bucket.note_cost(cost)
            twin = lane.twin = self.lanes.get((demands, not priority > 0))
            if twin is not None:
                twin.twin = lane
            lane.used_at = now
            self.lanes[key] = lane
            self._lane_round.append(key)
            self._sweep(now)
        else:
            check_costs(lane, priority)
        lane.used_at = now
        return lane

    def bucket(self, scope: Scope, quota: Quota) -> Bucket:
        """The bucket of a quota at a scope."""
        bucket = self.buckets.get((scope, quota))
        if bucket is None:
            bucket = self.buckets[scope, quota] = open_bucket(scope, quota, self.names.bucket(scope, quota))
            self.by_key[bucket.key] = bucket
            self._bucket_round.append((scope, quota))
        return bucket

    def _costs(self, demands: Sequence[Demand]) -> list[tuple[Bucket, int]]:
        costs: dict[Bucket, int] = {}
        for scope, quota, cost in demands:
            if cost < 1:
                raise ValueError(f"{scope}: a cost of {cost} permits; ask for at least 1")
            bucket = self.bucket(scope, quota)
            costs[bucket] = costs.get(bucket, 0) + cost
        return list(costs.items())

    def _sweep(self, now: float) -> None:
        for _ in range(min(LOOKS, len(self._lane_round))):
            key = self._lane_round.popleft()
            lane = self.lanes[key]
            if lane.line or lane.units or lane.used_at + KEPT_FOR > now:
                self._lane_round.append(key)
            else:
                del self.lanes[key]
                if lane.twin is not None:
                    lane.twin.twin = None
                for bucket, _ in lane.costs:
                    bucket.lanes -= 1
        for _ in range(min(LOOKS, len(self._bucket_round))):
            place = self._bucket_round.popleft()
            bucket = self.buckets[place]
            bucket.forget(self.clock, now)
            if not bucket.is_idle():
                self._bucket_round.append(place)
            else:
                del self.buckets[place], self.by_key[bucket.key]


def check_costs(lane: Lane, priority: int) -> None:
    """Refuse what is never granted, as things stand.

    :raises CostAboveLimit: a cost is above the limit.
    """
    for bucket, cost in lane.costs:
        if cost > bucket.most_for(priority):
            raise CostAboveLimit(
                f"{bucket.scope}: a cost of {cost} is above what {bucket.quota} ever grants at once. Lower the cost."
            )


def most_units(lane: Lane, workers: int) -> int:
    """Units leased at once: not more than a third of any limit, or this worker's share, for others want some too."""
    most = math.inf
    for bucket, cost in lane.flow:
        limit = min(bucket.most, bucket.most_for(1 if lane.is_privileged else 0))
        if limit < math.inf:
            most = min(most, -(-limit // max(3, workers)) // cost)
    return max(1, 100_000 if most == math.inf else int(most))


def horizon_of(lane: Lane, workers: int) -> float:
    """Seconds ahead for which permits are leased: more where many workers share a small limit.

    Then each lease is of some permits all the same; never more than half a window.
    """
    most, longest = SLOT, math.inf
    for bucket, cost in lane.flow:
        if bucket.kind == "window":
            longest = min(longest, bucket.span / (2 if workers > 1 else 3), bucket.horizon)
            if workers > 1:
                most = max(most, LEASE * workers * cost * bucket.span / max(1.0, bucket.most))
    return min(most, longest)
