"""Leaky buckets made of ``aiolimiter``."""

from __future__ import annotations

import asyncio
from collections import deque

import anyio
from attrs import define, field

from ratesync.clock import MINIMUM_DELAY
from ratesync.errors import ConfigurationError
from ratesync.model.quota import Scope

BucketKey = tuple[Scope, float, float]
"""Scope, permits, and seconds in which one of them leaks away."""

HALVINGS = 40
"""Steps in which the room of a bucket is found: to a part in 10^12."""

LOOKS = 4
"""Buckets looked at before each call: more than a call uses, so that what is idle goes faster than new ones come."""


class LeakyBucket:
    """What flows through one scope.

    ``pace`` is the seconds in which one permit leaks away. ``line`` is held by the first of those who wait, as the
    limiter's own line would let small costs pass big ones.
    """

    __slots__ = ("callers", "limiter", "line", "pace", "scope")

    def __init__(self, scope: Scope, *, burst: float, pace: float) -> None:
        from aiolimiter import AsyncLimiter

        self.scope = scope
        self.pace = pace
        self.callers = 0
        """Who waits for it, or is about to."""
        self.limiter = AsyncLimiter(burst, burst * pace)
        self.line = anyio.Lock(fast_acquire=True)

    @property
    def is_idle(self) -> bool:
        """True if the bucket is empty and nobody waits for it."""
        return not self.callers and self.limiter.has_capacity(self.limiter.max_rate)

    @property
    def room(self) -> float:
        """Permits that fit in. The limiter only tells whether a number fits, so the greatest one is searched."""
        fits, too_many = 0.0, self.limiter.max_rate
        if self.limiter.has_capacity(too_many):
            return too_many
        for _ in range(HALVINGS):
            middle = (fits + too_many) / 2
            if self.limiter.has_capacity(middle):
                fits = middle
            else:
                too_many = middle
        return fits

    def delay(self, cost: int) -> float:
        """Seconds until ``cost`` permits fit in if nobody else puts any in; 0.0 if they fit now."""
        return 0.0 if self.limiter.has_capacity(cost) else max(MINIMUM_DELAY, (cost - self.room) * self.pace)

    async def fill(self, cost: int) -> None:
        """Put permits in that fit. Does not wait."""
        await self.limiter.acquire(cost)


@define(eq=False)
class LeakyBuckets:
    """The buckets in use, by scope, size and pace. Empty ones are dropped as others are used."""

    _buckets: dict[BucketKey, LeakyBucket] = field(factory=dict[BucketKey, LeakyBucket], init=False)
    _round: deque[tuple[BucketKey, LeakyBucket]] = field(factory=deque[tuple[BucketKey, LeakyBucket]], init=False)
    """The same buckets, in the order in which they are looked at."""

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, scope: Scope, *, burst: float, pace: float) -> LeakyBucket:
        """The bucket of a scope that holds ``burst`` permits and lets one leak away in ``pace`` seconds.

        Use it before other tasks run: empty buckets can be dropped later.

        :raises ConfigurationError: the event loop is not asyncio's.
        """
        key = (scope, burst, pace)
        return self._buckets.get(key) or self._add(key)

    def sweep(self) -> None:
        """Drop some of those that are empty, before others are used."""
        for _ in range(min(LOOKS, len(self._round))):
            key, bucket = self._round.popleft()
            if bucket.is_idle:
                del self._buckets[key]
            else:
                self._round.append((key, bucket))

    def _add(self, key: BucketKey) -> LeakyBucket:
        require_asyncio()
        scope, burst, pace = key
        bucket = self._buckets[key] = LeakyBucket(scope, burst=burst, pace=pace)
        self._round.append((key, bucket))
        return bucket


def require_asyncio() -> None:
    """Refuse any other event loop.

    :raises ConfigurationError: the event loop is not asyncio's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "SmoothingLimiter is built on aiolimiter, which needs asyncio. Use MemoryLimiter on other event loops."
        ) from None
