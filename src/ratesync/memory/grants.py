"""What is used of each quota, and under which permit. No waiting here: everything happens at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from ratesync.errors import LimiterError
from ratesync.memory.bucket import Bucket, Claim
from ratesync.memory.bucket_table import BucketTable
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.quota import Countable, Demand, Observation, Penalty, Permit, QuotaState
from ratesync.rules.hold import Holds
from ratesync.rules.reading import match_cause, match_reading, may_be_meant


class Grants:
    """Takes permits and gives them back. The instants handed in must not go backwards."""

    def __init__(self, alone_since: float | None = None) -> None:
        self.table = BucketTable(alone_since)
        self._holds = Holds()
        self._granted: dict[int, tuple[Permit, Sequence[Claim]]] = {}
        self._ids = count(1)

    def grant(self, demands: Sequence[Demand], claims: Sequence[Claim], priority: int, now: float) -> Permit | None:
        """A permit if all is free; else nothing is taken."""
        if self._holds.exist(now) and any(self._holds.free_at(bucket.scope, now) > now for bucket, _ in claims):
            return None
        for position, (bucket, cost) in enumerate(claims):
            if not bucket.meter.take(cost, now, bucket.kept_from(priority) if bucket.reserve else 0):
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

    def settle(self, permit: Permit, observation: Observation, now: float) -> tuple[Sequence[Claim], bool]:
        """The call ended. What it used, and whether its answer changed what others wait for."""
        claims = self._take_out(permit)
        feedback = observation.feedback
        for bucket, cost in claims:
            charged = cost if feedback is NO_FEEDBACK else _charged(bucket, cost, feedback)
            bucket.meter.settle(cost, charged, permit.granted_at, now)
        if feedback is NO_FEEDBACK and not observation.throttled:
            return claims, False
        return claims, self._learn(claims, permit, observation, now)

    def _learn(self, claims: Sequence[Claim], permit: Permit, observation: Observation, now: float) -> bool:
        feedback = observation.feedback
        buckets = list(dict.fromkeys(bucket for bucket, _ in claims))
        quotas = [bucket.quota for bucket in buckets]
        is_changed = observation.throttled or observation.hold_for > 0
        for reading in feedback.readings:
            place = match_reading(reading, quotas)
            if place is not None and buckets[place].meter.learn(reading, permit.granted_at, now):
                is_changed = True
        if observation.throttled:
            sure = match_cause(feedback.cause, quotas)
            for place, bucket in enumerate(buckets):
                if place == sure or may_be_meant(feedback.cause, bucket.quota):
                    bucket.meter.refuse(permit.granted_at, now, is_sure=place == sure)
        if observation.hold_for > 0:
            for bucket in buckets:
                self._holds.hold(bucket.scope, now + observation.hold_for, now)
        return is_changed

    def is_reserved(self, claims: Sequence[Claim], now: float) -> bool:
        """Whether only permits that are kept for higher priorities are left of some, and enough of all."""
        return self.free_at(claims, 1, now) <= now < self.free_at(claims, 0, now)

    def is_sooner_for_others(self, claims: Sequence[Claim], now: float) -> bool:
        """Whether higher priorities may be served sooner, because of what is kept for them."""
        return any(bucket.reserve for bucket, _ in claims) and self.free_at(claims, 1, now) != self.free_at(
            claims, 0, now
        )

    def free_at(self, claims: Sequence[Claim], priority: int, now: float) -> float:
        """Instant at which all can be taken if nobody takes or gives back any until then.

        ``now`` if they can be taken at once; infinity if not before a call under way ends.
        """
        return max((self.bucket_free_at(bucket, cost, priority, now) for bucket, cost in claims), default=now)

    def bucket_free_at(self, bucket: Bucket, cost: int, priority: int, now: float) -> float:
        """As ``free_at``, for permits of one bucket."""
        free_at = bucket.meter.free_at(cost, now, bucket.kept_from(priority))
        return max(free_at, self._holds.free_at(bucket.scope, now))

    def earliest_at(self, claims: Sequence[Claim], priority: int, now: float) -> float:
        """Surely not all is free before this instant, whatever calls under way do."""
        instants = (
            max(
                bucket.meter.earliest_at(cost, now, bucket.kept_from(priority)),
                self._holds.free_at(bucket.scope, now),
            )
            for bucket, cost in claims
        )
        return max(instants, default=now)

    def state(self, demand: Demand, now: float) -> QuotaState:
        """How the demand's quota stands."""
        held_until = self._holds.free_at(demand.scope, now)
        bucket = self.table.find(demand)
        if bucket is None:
            limit = demand.quota.permits if isinstance(demand.quota, Countable) else None
            return QuotaState(demand, 0, limit, held_until, held_until if held_until > now else None)
        free_at = self.bucket_free_at(bucket, 1, 1, now)
        if isinstance(bucket.quota, Penalty):
            held_until = max(held_until, free_at)
        return QuotaState(
            demand,
            bucket.meter.used(now),
            bucket.meter.limit,
            None if free_at == math.inf else free_at,
            held_until if held_until > now else None,
            len(bucket.line),
        )

    def _take_out(self, permit: Permit) -> Sequence[Claim]:
        granted, claims = self._granted.get(permit.id, (None, ()))
        if granted is not permit:
            raise LimiterError(
                f"Permit {permit.id} is not in use here. End each permit once, at the limiter that granted it."
            )
        del self._granted[permit.id]
        return claims


def _charged(bucket: Bucket, cost: int, feedback: Feedback) -> int:
    """What the provider charged for a call, as far as it told."""
    if not feedback.charged or not isinstance(bucket.quota, Countable):
        return cost
    return max(0, feedback.charged.get(bucket.quota.unit, cost))
