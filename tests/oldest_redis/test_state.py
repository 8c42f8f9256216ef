"""The state store keeps its contract on the oldest Redis."""

from __future__ import annotations

from tests.redis_base.test_state import TestRedisStateStore

__all__ = ["TestRedisStateStore"]
