"""All quotas in use."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ratesync.errors import CostAboveLimit
from ratesync.memory.bucket import Bucket, Claim
from ratesync.model.quota import Demand, Quota, Scope
from ratesync.rules.meter import open_meter

LOOKS = 2
"""Buckets looked at for each new one: more than one, so that what is idle goes faster than new ones come."""

SWEEP = 100
"""Buckets looked at in one sweep: some tens of microseconds."""

SWEEP_AGAIN_AFTER = 0.01
"""Least seconds between two sweeps while they find something to drop."""

SWEEP_REST = 1.0
"""Seconds between two sweeps that find nothing."""


@define(eq=False)
class BucketTable:
    """All buckets in use. Those that are idle are dropped little by little, as others are used: no task does it."""

    alone_since: float | None = None
    """Instant before which others may have used the quotas; None: the first use, when it comes."""
    _buckets: dict[tuple[Scope, Quota], Bucket] = field(factory=dict[tuple[Scope, Quota], Bucket], init=False)
    _round: deque[Bucket] = field(factory=deque[Bucket], init=False)
    """The same buckets, in the order in which they are looked at."""
    _added: int = field(default=0, init=False)
    """Buckets added since the last sweep."""
    _sweep_at: float = field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self._buckets)

    def find(self, demand: Demand) -> Bucket | None:
        """The bucket of a demand, if it is in use."""
        return self._buckets.get((demand.scope, demand.quota))

    def claims(self, demands: Sequence[Demand], priority: int, now: float) -> list[Claim]:
        """What a call with these demands takes, each bucket as often as it is named.

        Use it before other tasks run: buckets of which nothing is used can be dropped later.

        :raises CostAboveLimit: a cost is above what is ever granted to that priority.
        :raises ValueError: a cost is below 1.
        """
        if self._added or now >= self._sweep_at:
            self._sweep(now)
        if self.alone_since is None:
            self.alone_since = now
        claims: list[Claim] = []
        for demand in demands:
            scope, quota, cost = demand
            bucket = self._buckets.get((scope, quota)) or self._add(scope, quota, now)
            if not 0 < cost <= bucket.most(priority):
                raise refused_cost(demand, cost)
            bucket.asked_at = now
            claims.append((bucket, cost))
        return claims

    def _add(self, scope: Scope, quota: Quota, now: float) -> Bucket:
        meter = open_meter(quota, now, now if self.alone_since is None else self.alone_since)
        bucket = self._buckets[scope, quota] = Bucket(scope, quota, meter, -math.inf)
        self._round.append(bucket)
        self._added += 1
        return bucket

    def _sweep(self, now: float) -> None:
        if self._added:
            self._look(LOOKS * self._added, now)
            self._added = 0
        else:
            found = self._look(SWEEP, now)
            self._sweep_at = now + (SWEEP_AGAIN_AFTER if found else SWEEP_REST)

    def _look(self, most: int, now: float) -> bool:
        found = False
        for _ in range(min(most, len(self._round))):
            bucket = self._round.popleft()
            if bucket.is_idle(now):
                del self._buckets[bucket.scope, bucket.quota]
                found = True
            else:
                self._round.append(bucket)
        return found


def refused_cost(demand: Demand, cost: int) -> Exception:
    """The error for a cost that no wait makes grantable."""
    if cost < 1:
        return ValueError(f"{demand.scope}: a cost of {cost} permits; ask for at least 1")
    return CostAboveLimit(
        f"{demand.scope}: a cost of {cost} is above what {demand.quota} ever grants at once. Lower the cost."
    )


def merged(claims: Sequence[Claim], demands: Sequence[Demand], priority: int) -> list[Claim]:
    """The claims with each bucket once; ``demands`` are those that they are made of.

    :raises CostAboveLimit: the costs at one bucket add up to more than is ever granted.
    """
    costs: dict[Bucket, int] = {}
    for demand, (bucket, cost) in zip(demands, claims, strict=True):
        costs[bucket] = costs.get(bucket, 0) + cost
        if costs[bucket] > bucket.most(priority):
            raise refused_cost(demand, costs[bucket])
    return list(costs.items())
