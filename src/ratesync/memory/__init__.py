"""Queue, limiter, state store and records in this process's memory. What they hold lives and dies with it."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.clock import Clock, SystemClock
from ratesync.memory.limiter import MemoryLimiter
from ratesync.memory.queue import MemoryQueue
from ratesync.memory.records import MemoryRecords
from ratesync.memory.smoothing import SmoothingLimiter
from ratesync.memory.state import MemoryStateStore

__all__ = ["MemoryBackend", "MemoryLimiter", "MemoryQueue", "MemoryRecords", "MemoryStateStore", "SmoothingLimiter"]


@frozen
class MemoryBackend:
    """Queue, limiter and state store together, ready for ``SyncEngine(backend=...)``.

    Durability is ``process``: a crash loses what is queued. Engines of one event loop may share a backend; several
    event loops or processes may not.
    """

    clock: Clock = field(factory=SystemClock, kw_only=True)
    capacity: int = field(default=100_000, kw_only=True)
    """Most pending operations. Default 100,000."""
    cold_start: bool = field(default=True, kw_only=True)
    """Somebody may have used the quotas shortly before; see :class:`MemoryLimiter`. Default True."""
    queue: MemoryQueue = field(init=False)
    limiter: MemoryLimiter = field(init=False)
    state: MemoryStateStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "queue", MemoryQueue(clock=self.clock, capacity=self.capacity))
        object.__setattr__(self, "limiter", MemoryLimiter(clock=self.clock, cold_start=self.cold_start))
        object.__setattr__(self, "state", MemoryStateStore())
