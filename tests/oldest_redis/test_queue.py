"""The queue keeps its contract on the oldest Redis."""

from __future__ import annotations

from tests.redis_queue.test_queue import TestRedisQueue, anyio_backend, barrier

__all__ = ["TestRedisQueue", "anyio_backend", "barrier"]
