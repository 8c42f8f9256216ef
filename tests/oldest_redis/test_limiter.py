"""The limiter keeps its contract on the oldest Redis."""

from __future__ import annotations

from tests.redis.test_limiter import TestRedisLimiter, anyio_backend

__all__ = ["TestRedisLimiter", "anyio_backend"]
