"""What is used of each quota, and under which permit. No waiting here: everything happens at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from ratesync.errors import LimiterError
from ratesync.memory.bucket import Bucket, BucketTable, Claim
from ratesync.model.quota import Demand, Observation, Permit, QuotaUse
from ratesync.rules.hold import Holds


class Grants:
    """Takes permits and gives them back. The instants handed in must not go backwards."""

    def __init__(self) -> None:
        self.table = BucketTable()
        self._holds = Holds()
        self._granted: dict[int, tuple[Permit, Sequence[Claim]]] = {}
        self._ids = count(1)

    def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], now: float) -> Permit | None:
        """A permit if all is free; else nothing is taken."""
        if self._holds.exist(now) and any(self._holds.free_at(bucket.scope, now) > now for bucket, _ in claims):
            return None
        for position, (bucket, cost) in enumerate(claims):
            if not bucket.meter.take(cost, now):
                for taken, taken_cost in claims[:position]:
                    taken.meter.refund(taken_cost)
                return None
        permit = Permit(next(self._ids), tuple(demands), now)
        self._granted[permit.id] = (permit, claims)
        return permit

    def refund(self, permit: Permit) -> Sequence[Claim]:
        """All is free again. Returns what that was."""
        claims = self._take_out(permit)
        for bucket, cost in claims:
            bucket.meter.refund(cost)
        return claims

    def settle(self, permit: Permit, observation: Observation, now: float) -> Sequence[Claim]:
        """The call ended. Returns what it used."""
        claims = self._take_out(permit)
        for bucket, cost in claims:
            bucket.meter.settle(cost, permit.granted_at, now)
        if observation.throttled and observation.retry_after is not None:
            for bucket, _ in claims:
                self._holds.hold(bucket.scope, now + observation.retry_after, now)
        return claims

    def free_at(self, claims: Sequence[Claim], now: float) -> float:
        """Instant at which all can be taken if nobody takes or gives back any until then.

        ``now`` if they can be taken at once; infinity if not before a call under way ends.
        """
        return max((self.bucket_free_at(bucket, cost, now) for bucket, cost in claims), default=now)

    def bucket_free_at(self, bucket: Bucket, cost: int, now: float) -> float:
        """As ``free_at``, for permits of one bucket."""
        return max(bucket.meter.free_at(cost, now), self._holds.free_at(bucket.scope, now))

    def earliest_at(self, claims: Sequence[Claim], now: float) -> float:
        """Surely not all is free before this instant, whatever calls under way do."""
        instants = (
            max(bucket.meter.earliest_at(cost, now), self._holds.free_at(bucket.scope, now)) for bucket, cost in claims
        )
        return max(instants, default=now)

    def use(self, demand: Demand, now: float) -> QuotaUse:
        """How much of the demand's quota is used, and when the next single permit is free."""
        bucket = self.table.find(demand)
        if bucket is None:
            return QuotaUse(demand, 0, self._holds.free_at(demand.scope, now))
        free_at = self.bucket_free_at(bucket, 1, now)
        return QuotaUse(demand, bucket.meter.used(now), None if free_at == math.inf else free_at)

    def _take_out(self, permit: Permit) -> Sequence[Claim]:
        granted, claims = self._granted.get(permit.id, (None, ()))
        if granted is not permit:
            raise LimiterError(
                f"Permit {permit.id} is not in use here. End each permit once, at the limiter that granted it."
            )
        del self._granted[permit.id]
        return claims
