"""Queue and state store in one file, with the limiter of the host's choice."""

from __future__ import annotations

import os

from ratesync.clock import Clock
from ratesync.model.work import Durability
from ratesync.protocols import Limiter
from ratesync.sqlite.file import SqliteFile
from ratesync.sqlite.queue import SqliteQueue
from ratesync.sqlite.state import SqliteStateStore


class SqliteBackend:
    """Queue and state store in one SQLite file, ready for ``SyncEngine(backend=...)``.

    A file grants no permits, so give a limiter, here or to the engine: a ``MemoryLimiter()``, or a ``RedisLimiter``
    where several processes share quotas.

    Args:
        path: The database. It is made if there is none, with two files beside it (``-wal`` and ``-shm``).
        limiter: Who grants permits. Default: the one that the engine is given by itself.
        durability: ``fsync`` (default): on disk before it is accepted. ``fsync-1s``: within about a second.
        capacity: Most pending operations. Default 1,000,000.
        lease_seconds: How long a worker may give no sign of life; what a killed one held comes back then. Default 15 s.
        clock: Default: the machine's clock.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limiter: Limiter | None = None,
        durability: Durability = Durability.FSYNC,
        capacity: int = 1_000_000,
        lease_seconds: float = 15.0,
        clock: Clock | None = None,
    ) -> None:
        file = SqliteFile(path, durability=durability, clock=clock)
        self.queue = SqliteQueue(file, capacity=capacity, lease_seconds=lease_seconds)
        self.limiter = limiter
        self.state = SqliteStateStore(file)
