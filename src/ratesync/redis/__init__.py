"""Quotas of many processes, kept in a Redis. Needs the extra ``redis``."""

from __future__ import annotations

from ratesync.redis.limiter import RedisLimiter

__all__ = ["RedisLimiter"]
