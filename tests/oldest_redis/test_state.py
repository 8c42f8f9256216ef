"""The state store keeps its contract on the oldest Redis."""

from tests.redis_base.test_state import TestRedisStateStore  # noqa: F401  a suite
