"""Leaky buckets made of ``aiolimiter``, one for each connection."""

from __future__ import annotations

import asyncio
from collections import deque

import anyio
from attrs import define, field

from ratesync.clock import MINIMUM_DELAY
from ratesync.errors import ConfigurationError
from ratesync.model.quota import Scope

HALVINGS = 40
"""Steps in which the room of a bucket is found: to a part in 10^12."""

LOOKS = 2
"""Buckets looked at in each use: more than one, so that what is idle goes faster than new ones come."""


class LeakyBucket:
    """What flows to one connection.

    ``pace`` is the seconds in which one permit leaks away. ``line`` is held by the first of those who wait, as the
    limiter's own line would let small costs pass big ones.
    """

    __slots__ = ("limiter", "line", "pace", "scope")

    def __init__(self, scope: Scope, *, burst: float, pace: float) -> None:
        from aiolimiter import AsyncLimiter

        self.scope = scope
        self.pace = pace
        self.limiter = AsyncLimiter(burst, burst * pace)
        self.line = anyio.Lock(fast_acquire=True)

    @property
    def is_idle(self) -> bool:
        """True if the bucket is empty and nobody waits for it."""
        return not self.line.locked() and self.limiter.has_capacity(self.limiter.max_rate)

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
    """The buckets in use. Empty ones are dropped as others are used."""

    burst: float
    """Size of a bucket in permits."""
    pace: float
    """Seconds in which one permit leaks away."""
    _buckets: dict[Scope, LeakyBucket] = field(factory=dict[Scope, LeakyBucket], init=False)
    _round: deque[LeakyBucket] = field(factory=deque[LeakyBucket], init=False)
    """The same buckets, in the order in which they are looked at."""

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, scope: Scope) -> LeakyBucket:
        """The bucket of a scope. Use it before other tasks run: empty buckets can be dropped later.

        :raises ConfigurationError: the event loop is not asyncio's.
        """
        bucket = self._buckets.get(scope) or self._add(scope)
        for _ in range(LOOKS):
            looked_at = self._round.popleft()
            if looked_at is not bucket and looked_at.is_idle:
                del self._buckets[looked_at.scope]
            else:
                self._round.append(looked_at)
        return bucket

    def _add(self, scope: Scope) -> LeakyBucket:
        require_asyncio()
        bucket = LeakyBucket(scope, burst=self.burst, pace=self.pace)
        self._buckets[scope] = bucket
        self._round.append(bucket)
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
