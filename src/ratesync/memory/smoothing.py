"""The smoothing limiter: plain leaky buckets."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager

import anyio

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import ConfigurationError, CostAboveLimit, LimiterError, PermitTimeout
from ratesync.memory.leaky_bucket import LeakyBucket, LeakyBuckets, require_asyncio
from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, QuotaState, Rate, Refusal, Scope
from ratesync.model.quota import LeakyBucket as LeakyBucketQuota
from ratesync.rules.hold import Holds, connection_of

Pour = tuple[LeakyBucket, Demand, int]
"""A number of permits that go into a bucket, and the demand that they are for."""


class SmoothingLimiter:
    """Leaky buckets on ``aiolimiter``: for providers that keep such buckets, and to spread calls evenly.

    Declared :class:`~ratesync.LeakyBucket` quotas are kept, each in an ``aiolimiter.AsyncLimiter`` of its own. With
    ``max_rate``, the calls of each connection are spread evenly besides: ``max_rate`` permits in ``per`` seconds,
    ``burst`` of them at once. :class:`~ratesync.Concurrency` is kept, and so is a pause that the provider asks for.

    It is the wrong tool for limits in sliding or fixed windows, which most providers have, for a limit that nobody has
    told, and where what the provider tells of its quotas matters: a :class:`~ratesync.Rate`, ``FixedWindow``,
    ``Budget``, ``Penalty`` or ``Adaptive`` is not looked at, nor are readings, priorities and reserves. Measured with
    aiolimiter against a strict sliding window of 100 calls a second:

    - ``burst`` as large as the limit: up to 200 calls in one window, at the start and after each idle time. About 100
      refusals at once, then a trickle of them. If refused calls count too, it stays so: half of the quota is reached.
    - ``burst=1``: no refusal, but 93 to 96 % of the quota, as the time by which a timer is late is lost for good.

    :class:`~ratesync.memory.MemoryLimiter` reached 99.7 % without a refusal. Besides, a permit given back by ``refund``
    keeps its place in the bucket until it has leaked away, and a call that costs more than ``burst`` is an error.

    On asyncio only. A call's cost for the even spread is the largest of its demands for a rate, or 1. Calls whose
    demands name no connection share one bucket for the provider.

    :param max_rate: permits in ``per`` seconds for each connection. None: only declared leaky buckets are kept.
    :param per: seconds. Default 1.
    :param burst: permits that an empty bucket lets through at once, at least 1. Default 1: evenly from the first call.
    :raises ConfigurationError: the numbers make no bucket; in ``open`` also: the event loop is not asyncio's.
    """

    def __init__(
        self,
        max_rate: float | None = None,
        per: float = 1.0,
        *,
        burst: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        if not (max_rate is None or 0 < max_rate < math.inf) or not (0 < per < math.inf and 1 <= burst < math.inf):
            raise ConfigurationError(
                f"SmoothingLimiter({max_rate}, {per}, burst={burst}): rate and time must be above 0, burst 1 or more"
            )
        self._clock = clock or SystemClock()
        self._buckets = LeakyBuckets()
        self._burst = burst
        self._pace = None if max_rate is None else per / max_rate
        self._concurrency = MemoryLimiter(clock=self._clock, cold_start=False)
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
        pours = self._pours(demands)
        answer = await self._concurrency.reserve(concurrencies(demands))
        if isinstance(answer, Refusal):
            return answer
        held = connection(demands)
        delays = [(self._turn(bucket, cost), demand) for bucket, demand, cost in pours]
        delays.append((self._hold(held), demands[0] if demands else Demand(held, Concurrency(1))))
        delay, demand = max(delays, key=lambda each: each[0])
        if delay > 0:
            self._concurrency.refund(answer)
            return Refusal(demand, delay)
        for bucket, _, cost in pours:
            await bucket.fill(cost)
        return self._permit(demands, answer)

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        """Wait for a permit; see :meth:`ratesync.protocols.Limiter.acquire`.

        A place under a :class:`~ratesync.Concurrency` is held while a bucket has no room.
        """
        pours = self._pours(demands)
        answer = await self._concurrency.acquire(concurrencies(demands), deadline=deadline)
        try:
            await self._fill(pours, connection(demands), deadline)
        except BaseException:
            self._concurrency.refund(answer)
            raise
        return self._permit(demands, answer)

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; see :meth:`ratesync.protocols.Limiter.done`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._concurrency.done(self._given_back(permit), Observation())
        hold_for = observation.hold_for
        if hold_for > 0:
            now = self._clock.now()
            self._holds.hold(connection(permit.demands), now + hold_for, now)

    def refund(self, permit: Permit) -> None:
        """The call was not made. Its place in the bucket leaks away as if it had been.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._concurrency.refund(self._given_back(permit))

    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        """How each demand's quota stands now; for a rate, how full the bucket of the even spread is."""
        return [await self._state(demand) for demand in demands]

    async def _state(self, demand: Demand) -> QuotaState:
        if isinstance(demand.quota, Concurrency):
            return (await self._concurrency.snapshot([demand]))[0]
        held_until = self._clock.now() + self._hold(demand.scope)
        pours = self._pours([Demand(demand.scope, demand.quota)])
        if not pours:
            return QuotaState(demand, 0, None, held_until)
        bucket, _, cost = pours[0]  # the declared one, if it is that
        size = bucket.limiter.max_rate
        free_at = max(held_until, self._clock.now() + bucket.delay(cost))
        return QuotaState(demand, round(size - bucket.room), int(size), free_at)

    async def _fill(self, pours: Sequence[Pour], held: Scope, deadline: float | None) -> None:
        """Wait in each line, then for room in all the buckets at once."""
        self._delay_within(deadline, pours, held)
        with timeout_at(self._clock, deadline), calling(pours):
            async with AsyncExitStack() as lines:
                # Always in the same order, so that nobody waits in a ring.
                for bucket, _, _ in sorted(pours, key=_rank):
                    await lines.enter_async_context(bucket.line)
                # An aiolimiter tells nobody when it has leaked, and a hold may come meanwhile.
                while (delay := self._delay_within(deadline, pours, held)) > 0:  # noqa: ASYNC110
                    await anyio.sleep(delay)
                for bucket, _, cost in pours:
                    await bucket.fill(cost)
                return
        raise too_late(held, self._delay(pours, held))

    def _delay_within(self, deadline: float | None, pours: Sequence[Pour], held: Scope) -> float:
        """Seconds until there is room.

        :raises PermitTimeout: that is too late.
        """
        delay = self._delay(pours, held)
        if deadline is not None and self._clock.now() + delay > deadline:
            raise too_late(held, delay)
        return delay

    def _delay(self, pours: Sequence[Pour], held: Scope) -> float:
        return max([self._hold(held), *(bucket.delay(cost) for bucket, _, cost in pours)])

    def _hold(self, scope: Scope) -> float:
        now = self._clock.now()
        return self._holds.free_at(scope, now) - now

    def _turn(self, bucket: LeakyBucket, cost: int) -> float:
        """Seconds until it is the turn of one who comes now."""
        delay = bucket.delay(cost)
        if bucket.line.locked():
            delay = max(delay, (bucket.line.statistics().tasks_waiting + 1) * bucket.pace)
        return delay

    def _pours(self, demands: Sequence[Demand]) -> list[Pour]:
        """What goes into which bucket, and for which demand: those of the declared buckets, the even spread last."""
        self._buckets.sweep()
        pours: list[Pour] = []
        for demand in demands:
            scope, quota, cost = demand
            if cost < 1:
                raise ValueError(f"{scope}: a cost of {cost} permits; ask for at least 1")
            if isinstance(quota, LeakyBucketQuota):
                if cost > quota.permits:
                    raise CostAboveLimit(f"{scope}: a cost of {cost} is above what {quota} holds. Lower the cost.")
                pours.append((self._buckets.of(scope, burst=quota.permits, pace=1 / quota.restore), demand, cost))
        if self._pace is not None:
            pours.append(self._spread(demands, self._pace))
        return pours

    def _spread(self, demands: Sequence[Demand], pace: float) -> Pour:
        scope = connection(demands)
        cost = max([demand.cost for demand in demands if isinstance(demand.quota, Rate)] or [1])
        if cost > self._burst:
            raise CostAboveLimit(
                f"{scope}: a cost of {cost} is above the burst of {self._burst}. Lower the cost or raise the burst."
            )
        rate = Rate(int(self._burst), per=int(self._burst) * pace)
        return self._buckets.of(scope, burst=self._burst, pace=pace), Demand(scope, rate, cost), cost

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


@contextmanager
def calling(pours: Sequence[Pour]) -> Generator[None]:
    """Keep the buckets for a block, though they may be empty."""
    for bucket, _, _ in pours:
        bucket.callers += 1
    try:
        yield
    finally:
        for bucket, _, _ in pours:
            bucket.callers -= 1


def _rank(pour: Pour) -> tuple[Scope, float, float]:
    bucket = pour[0]
    return bucket.scope, bucket.limiter.max_rate, bucket.pace
