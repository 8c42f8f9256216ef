"""Queue, limiter and state store in one Redis."""

from __future__ import annotations

import ssl
from typing import Self

from ratesync.clock import Clock
from ratesync.model.work import Durability
from ratesync.protocols import Limiter
from ratesync.redis.limiter.limiter import RedisLimiter
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.redis.state import RedisStateStore

LIMITER_TIMEOUT = 1.0
"""Seconds for one exchange of the limiter with the server."""


class RedisBackend:
    """Queue, limiter and state store in one Redis, ready for ``SyncEngine(backend=...)``.

    Any number of processes may use it at the same time. Make it with :meth:`from_url`; where the parts need settings of
    their own, make them one by one and give them here.
    """

    def __init__(self, *, queue: RedisQueue, limiter: Limiter, state: RedisStateStore) -> None:
        self.queue = queue
        self.limiter = limiter
        self.state = state

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str = "ratesync",
        durability: Durability | None = None,
        replicas: int = 1,
        capacity: int = 1_000_000,
        lease_seconds: float = 15.0,
        cold_start: bool = True,
        share: Limiter | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """A backend in the Redis of that URL; :meth:`RedisServer.from_url` tells what it may look like.

        :param prefix: what all keys begin with.
        :param durability: what the host asks for. Less than that is logged as a warning when the engine starts.
            ``replicated``: each write to queue and state is confirmed by replicas before it counts.
        :param replicas: how many must confirm, with ``replicated``. Default 1.
        :param capacity: most pending operations. Default 1,000,000.
        :param lease_seconds: how long a worker may give no sign of life; what a killed one held comes back then.
            Default 15 s.
        :param cold_start: somebody may have used the quotas before this Redis knew of them. Default True.
        :param share: grants permits while Redis is away, such as a ``MemoryLimiter()``. Default: nobody does.
        :param ssl_context: for TLS. Default: one that trusts the system's authorities.
        :param clock: default: the machine's clock.
        :raises ConfigurationError: the URL cannot be used.
        """
        server = RedisServer.from_url(
            url, prefix=prefix, durability=durability, replicas=replicas, ssl_context=ssl_context, clock=clock
        )
        limiter = RedisLimiter(
            url,
            prefix=f"{prefix}:",
            cold_start=cold_start,
            timeout=LIMITER_TIMEOUT,
            share=share,
            ssl_context=ssl_context,
            clock=clock,
        )
        queue = RedisQueue(server, capacity=capacity, lease_seconds=lease_seconds, clock=clock)
        return cls(queue=queue, limiter=limiter, state=RedisStateStore(server))
