"""The limiter keeps its contract on the oldest Redis."""

from tests.redis.test_limiter import TestRedisLimiter, anyio_backend  # noqa: F401  a suite and its event loops
