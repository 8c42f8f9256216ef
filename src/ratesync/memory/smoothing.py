"""The smoothing limiter: a plain leaky bucket for each connection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import ConfigurationError, CostAboveLimit, LimiterError, PermitTimeout
from ratesync.memory.leaky_bucket import LeakyBucket, LeakyBuckets, require_asyncio
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, QuotaState, Rate, Refusal, Scope
from ratesync.rules.hold import Holds, connection_of


class SmoothingLimiter:
    """Spreads the calls of each connection evenly: ``max_rate`` permits in ``per`` seconds, ``burst`` of them at once.

    It is the right tool where the provider itself keeps a leaky bucket (then ``burst`` is the size of that bucket), or
    where calls shall merely not come in bunches. Declared rates are not looked at, as a leaky bucket has only the one
    rate that it is made with. :class:`~ratesync.Concurrency` is kept, and so is a pause that the provider asks for.

    It is the wrong tool for limits in sliding or fixed windows, which most providers have. Measured with aiolimiter
    against a strict sliding window of 100 calls a second:

    - ``burst`` as large as the limit: up to 200 calls in one window, at the start and after each idle time. About 100
      refusals at once, then a trickle of them. If refused calls count too, it stays so: half of the quota is reached.
    - ``burst=1``: no refusal, but 93 to 96 % of the quota, as the time by which a timer is late is lost for good.

    :class:`~ratesync.memory.MemoryLimiter` reached 99.7 % without a refusal. Besides, a permit given back by ``refund``
    keeps its place in the bucket until it has leaked away, and a call that costs more than ``burst`` is an error.

    On asyncio only, built on ``aiolimiter.AsyncLimiter``. A call's cost is the largest of its demands for a rate, or 1.
    Calls whose demands name no connection share one bucket for the provider.

    :param max_rate: permits in ``per`` seconds.
    :param per: seconds. Default 1.
    :param burst: permits that an empty bucket lets through at once, at least 1. Default 1: evenly from the first call.
    :raises ConfigurationError: the numbers make no bucket; in ``open`` also: the event loop is not asyncio's.
    """

    def __init__(self, max_rate: float, per: float = 1.0, *, burst: float = 1.0, clock: Clock | None = None) -> None:
        if not (0 < max_rate < math.inf and 0 < per < math.inf and 1 <= burst < math.inf):
            raise ConfigurationError(
                f"SmoothingLimiter({max_rate}, {per}, burst={burst}): rate and time must be above 0, burst 1 or more"
            )
        self._clock = clock or SystemClock()
        self._buckets = LeakyBuckets(burst, per / max_rate)
        self._rate = Rate(int(burst), per=int(burst) * per / max_rate)
        self._concurrency = MemoryLimiter(clock=self._clock)
        self._holds = Holds()
        self._granted: dict[int, tuple[Permit, Permit]] = {}

    async def open(self) -> None:
        """Get ready for use.

        :raises ConfigurationError: the event loop is not asyncio's.
        """
        require_asyncio()

    async def close(self) -> None:
        """Nothing to let go of."""

    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        """Grant now or say how long to wait; see :meth:`ratesync.protocols.Limiter.reserve`."""
        cost = self._cost(demands)
        answer = await self._concurrency.reserve(concurrencies(demands))
        if isinstance(answer, Refusal):
            return answer
        bucket = self._buckets.of(connection(demands))
        delay = self._delay(bucket, cost)
        if bucket.line.locked():
            delay = max(delay, (bucket.line.statistics().tasks_waiting + 1) * bucket.pace)
        if delay > 0:
            self._concurrency.refund(answer)
            return Refusal(Demand(bucket.scope, self._rate, cost), delay)
        await bucket.fill(cost)
        return self._permit(demands, answer)

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        """Wait for a permit; see :meth:`ratesync.protocols.Limiter.acquire`.

        A place under a :class:`~ratesync.Concurrency` is held while the bucket has no room.
        """
        cost = self._cost(demands)
        answer = await self._concurrency.acquire(concurrencies(demands), deadline=deadline)
        try:
            await self._fill(self._buckets.of(connection(demands)), cost, deadline)
        except BaseException:
            self._concurrency.refund(answer)
            raise
        return self._permit(demands, answer)

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; see :meth:`ratesync.protocols.Limiter.done`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._concurrency.done(self._given_back(permit), Observation())
        if observation.throttled and observation.retry_after is not None:
            now = self._clock.now()
            self._holds.hold(connection(permit.demands), now + observation.retry_after, now)

    def refund(self, permit: Permit) -> None:
        """The call was not made. Its place in the bucket leaks away as if it had been.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._concurrency.refund(self._given_back(permit))

    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        """How much of each demand's quota is used now; for a rate, how full the bucket is."""
        bucket = self._buckets.of(connection(demands))
        free_at = self._clock.now() + self._delay(bucket, 1)
        return [
            (await self._concurrency.snapshot([demand]))[0]
            if isinstance(demand.quota, Concurrency)
            else QuotaState(demand, round(self._buckets.burst - bucket.room), int(self._buckets.burst), free_at)
            for demand in demands
        ]

    async def _fill(self, bucket: LeakyBucket, cost: int, deadline: float | None) -> None:
        """Wait in line, then for room."""
        self._delay_within(deadline, bucket, cost)
        with timeout_at(self._clock, deadline):
            async with bucket.line:
                delay = self._delay_within(deadline, bucket, cost)
                while delay > 0:
                    await anyio.sleep(delay)
                    delay = self._delay_within(deadline, bucket, cost)
                await bucket.fill(cost)
                return
        raise too_late(bucket.scope, self._delay(bucket, cost))

    def _delay_within(self, deadline: float | None, bucket: LeakyBucket, cost: int) -> float:
        """Seconds until there is room.

        :raises PermitTimeout: that is too late.
        """
        delay = self._delay(bucket, cost)
        if deadline is not None and self._clock.now() + delay > deadline:
            raise too_late(bucket.scope, delay)
        return delay

    def _delay(self, bucket: LeakyBucket, cost: int) -> float:
        now = self._clock.now()
        return max(bucket.delay(cost), self._holds.free_at(bucket.scope, now) - now)

    def _cost(self, demands: Sequence[Demand]) -> int:
        costs = [demand.cost for demand in demands if isinstance(demand.quota, Rate)] or [1]
        cost = max(costs)
        if min(costs) < 1:
            raise ValueError(f"{connection(demands)}: a cost of {min(costs)} permits; ask for at least 1")
        if cost > self._buckets.burst:
            raise CostAboveLimit(
                f"{connection(demands)}: a cost of {cost} is above the burst of {self._buckets.burst}. "
                "Lower the cost or raise the burst."
            )
        return cost

    def _permit(self, demands: Sequence[Demand], concurrency: Permit) -> Permit:
        permit = Permit(concurrency.id, tuple(demands), self._clock.now())
        self._granted[permit.id] = (permit, concurrency)
        return permit

    def _given_back(self, permit: Permit) -> Permit:
        granted, concurrency = self._granted.get(permit.id, (None, permit))
        if granted is not permit:
            raise LimiterError(
                f"Permit {permit.id} is not in use here. End each permit once, at the limiter it is from."
            )
        del self._granted[permit.id]
        return concurrency


def concurrencies(demands: Sequence[Demand]) -> list[Demand]:
    """The demands that are kept exactly."""
    return [demand for demand in demands if isinstance(demand.quota, Concurrency)]


def connection(demands: Sequence[Demand]) -> Scope:
    """What the demands have a bucket for: their connection, or else their provider."""
    named = [demand.scope for demand in demands]
    return next(filter(None, map(connection_of, named)), Scope(named[0].provider if named else ""))


def too_late(scope: Scope, delay: float) -> PermitTimeout:
    """The error for a permit that does not come before the deadline."""
    return PermitTimeout(f"{scope}: no permit before the deadline; one is free in {delay:.3f} s.", retry_after=delay)
