"""Quotas in use: for each quota at each scope, how much of it is used and who waits for it."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

import anyio
from attrs import define, field

from ratesync.errors import CostAboveLimit
from ratesync.model.quota import Demand, Permit, Quota, Rate, Scope
from ratesync.rules.concurrency import Occupancy
from ratesync.rules.window import Window, open_window

KEPT_FOR = 1.0
"""Seconds for which a bucket is kept although nothing of it is used, as it may well be used again."""

LOOKS = 2
"""Buckets looked at for each new one: more than one, so that what is idle goes faster than new ones come."""

SWEEP = 100
"""Buckets looked at in one sweep: some tens of microseconds."""

SWEEP_AGAIN_AFTER = 0.01
"""Least seconds between two sweeps while they find something to drop."""

SWEEP_REST = 1.0
"""Seconds between two sweeps that find nothing."""


@define(eq=False)
class Bucket:
    """One quota at one scope."""

    scope: Scope
    quota: Quota
    meter: Window | Occupancy
    asked_at: float
    """Instant at which somebody last wanted permits."""
    waiters: OrderedDict[Waiter, int] = field(factory=OrderedDict["Waiter", int], init=False)
    """Who waits for it and for how many permits, first come first."""
    wanted: int = field(default=0, init=False)
    """Sum of those permits."""

    @property
    def head(self) -> Waiter:
        """Who has waited longest."""
        return next(iter(self.waiters))

    def is_idle(self, now: float) -> bool:
        """Tell whether it may be dropped."""
        return self.asked_at + KEPT_FOR <= now and not self.waiters and self.meter.is_idle(now)


Claim = tuple[Bucket, int]
"""A number of permits from one bucket."""


@define(eq=False)
class Waiter:
    """Somebody who waits in ``acquire``, in line at each bucket that it claims from."""

    demands: Sequence[Demand]
    claims: Sequence[Claim]
    """Each bucket once."""
    deadline: float
    """Instant; infinity for none."""
    alarm: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when there is a permit, or when the waiter should look again."""
    looks_at: float = field(default=math.inf, init=False)
    """Instant at which the waiter looks by itself; infinity for never."""
    permit: Permit | None = field(default=None, init=False)

    @property
    def is_next(self) -> bool:
        """True if nobody came before, to any of the buckets."""
        return all(bucket.head is self for bucket, _ in self.claims)

    def line_up(self) -> None:
        """Take the last place in each line."""
        for bucket, cost in self.claims:
            bucket.waiters[self] = cost
            bucket.wanted += cost

    def leave(self) -> None:
        """Give the place in each line up."""
        for bucket, cost in self.claims:
            del bucket.waiters[self]
            bucket.wanted -= cost


@define(eq=False)
class BucketTable:
    """All buckets in use. Those that are idle are dropped little by little, as others are used: no task does it."""

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

    def claims(self, demands: Sequence[Demand], now: float) -> list[Claim]:
        """What a call with these demands takes, each bucket as often as it is named.

        Use it before other tasks run: buckets of which nothing is used can be dropped later.

        :raises CostAboveLimit: a cost is above its quota's permits.
        :raises ValueError: a cost is below 1.
        """
        if self._added or now >= self._sweep_at:
            self._sweep(now)
        claims: list[Claim] = []
        for demand in demands:
            cost = demand.cost
            bucket = self._buckets.get((demand.scope, demand.quota)) or self._add(demand.scope, demand.quota)
            if not 0 < cost <= bucket.meter.permits:
                raise refused_cost(demand, cost)
            bucket.asked_at = now
            claims.append((bucket, cost))
        return claims

    def _add(self, scope: Scope, quota: Quota) -> Bucket:
        meter = open_window(quota) if isinstance(quota, Rate) else Occupancy(quota.permits)
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


def merged(claims: Sequence[Claim], demands: Sequence[Demand]) -> list[Claim]:
    """The claims with each bucket once; ``demands`` are those that they are made of.

    :raises CostAboveLimit: the costs at one bucket add up to more than its quota's permits.
    """
    costs: dict[Bucket, int] = {}
    for demand, (bucket, cost) in zip(demands, claims, strict=True):
        costs[bucket] = costs.get(bucket, 0) + cost
        if costs[bucket] > bucket.quota.permits:
            raise refused_cost(demand, costs[bucket])
    return list(costs.items())
