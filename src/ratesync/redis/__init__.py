"""Queue, quotas and state of many processes, kept in a Redis or Valkey (6.2 or newer). Needs the extra ``redis``."""

from __future__ import annotations

from ratesync.redis.backend import RedisBackend
from ratesync.redis.errors import (
    AccessRefused,
    KeyClash,
    NewerLayout,
    NotReplicated,
    ServerAway,
    ServerError,
    ServerFull,
    ServerReadsOnly,
)
from ratesync.redis.limiter.limiter import RedisLimiter
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.redis.state import RedisStateStore

__all__ = [
    "AccessRefused",
    "KeyClash",
    "NewerLayout",
    "NotReplicated",
    "RedisBackend",
    "RedisLimiter",
    "RedisQueue",
    "RedisServer",
    "RedisStateStore",
    "ServerAway",
    "ServerError",
    "ServerFull",
    "ServerReadsOnly",
]
