"""This process's share of the quotas, for the time in which Redis does not answer."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field

from ratesync.errors import CostAboveLimit
from ratesync.model.quota import Countable, Demand, LeakyBucket, Observation, Permit, Quota, Refusal
from ratesync.protocols import Limiter

MARGIN = 0.8
"""Part of its share that a process uses: how many there are is known from before only."""


@define(eq=False)
class Share:
    """Grants from a limiter of this process alone, under quotas that are divided by the number of workers."""

    limiter: Limiter
    """Of its own; it must count as used what it cannot know, as one with a cold start does."""
    _inner: dict[int, Permit] = field(factory=dict[int, Permit], init=False)
    """Its permits, by the number of ours."""

    async def reserve(self, demands: Sequence[Demand], priority: int, workers: int) -> Permit | Refusal | None:
        """Grant now or not; None: the cost is above the share."""
        try:
            answer = await self.limiter.reserve(divided(demands, workers), priority=priority)
        except CostAboveLimit:
            return None
        if isinstance(answer, Refusal):
            place = divided(demands, workers).index(answer.demand)
            return evolve(answer, demand=demands[place])
        return answer

    async def acquire(
        self, demands: Sequence[Demand], priority: int, workers: int, deadline: float | None
    ) -> Permit | None:
        """Wait for a permit; None: the cost is above the share."""
        try:
            return await self.limiter.acquire(divided(demands, workers), priority=priority, deadline=deadline)
        except CostAboveLimit:
            return None

    def keep(self, permit: Permit, inner: Permit) -> None:
        """``permit`` stands for ``inner``."""
        self._inner[permit.id] = inner

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended, if it was granted here."""
        inner = self._inner.pop(permit.id, None)
        if inner is not None:
            self.limiter.done(inner, observation)

    def refund(self, permit: Permit) -> None:
        """The call was not made, if it was granted here."""
        inner = self._inner.pop(permit.id, None)
        if inner is not None:
            self.limiter.refund(inner)


def divided(demands: Sequence[Demand], workers: int) -> list[Demand]:
    """The demands under a worker's share of each quota.

    :raises CostAboveLimit: there are fewer permits than workers, or the cost is above the share.
    """
    return [demand._replace(quota=share_of(demand, workers)) for demand in demands]


def share_of(demand: Demand, workers: int) -> Quota:
    """A worker's share of the demand's quota."""
    quota, share = demand.quota, MARGIN / workers
    if not isinstance(quota, Countable):
        return quota
    permits = int(quota.permits * share)
    if permits < demand.cost:
        raise CostAboveLimit(f"{demand.scope}: a cost of {demand.cost} is above a share of {permits} permits")
    if isinstance(quota, LeakyBucket):
        return evolve(quota, permits=permits, restore=quota.restore * share)
    return evolve(quota, permits=permits)
