"""The queue keeps its contract on the oldest Redis."""

from tests.redis_queue.test_queue import TestRedisQueue, anyio_backend, barrier  # noqa: F401  fixtures
