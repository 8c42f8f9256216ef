"""Who holds what, and who has given a sign of life when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ratesync.memory.mailbox import Hold
from ratesync.model.work import Lease


class Worker:
    """A worker that holds leases, by provider and token. ``alive_at`` is the instant of its latest sign of life."""

    __slots__ = ("alive_at", "holds")

    def __init__(self, alive_at: float) -> None:
        self.alive_at = alive_at
        self.holds: dict[str, dict[int, Hold]] = {}


class Leases:
    """All leases in force. A worker is known while it holds any."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        """How long a lease lasts without a sign of life."""
        self._workers: dict[str, Worker] = {}

    def sign(self, worker: str, now: float) -> None:
        """Take note of a sign of life. Safe to call from any thread: it looks up one key and sets one attribute."""
        known = self._workers.get(worker)
        if known is not None:
            known.alive_at = now

    def grant(self, worker: str, provider: str, holds: Iterable[Hold], now: float) -> None:
        """Lease mailboxes of one provider to a worker."""
        known = self._workers.get(worker)
        if known is None:
            known = self._workers[worker] = Worker(now)
        own = known.holds.setdefault(provider, {})
        for hold in holds:
            own[hold.token] = hold

    def is_held(self, worker: str, lease: Lease) -> bool:
        """Whether the worker holds the lease."""
        known = self._workers.get(worker)
        return known is not None and lease.token in known.holds.get(lease.lane.provider, ())

    def release(self, worker: str, lease: Lease) -> Hold | None:
        """End a lease; None if the worker does not hold it (any more)."""
        known = self._workers.get(worker)
        holds = None if known is None else known.holds.get(lease.lane.provider)
        if known is None or holds is None:
            return None
        hold = holds.pop(lease.token, None)
        if not holds:
            del known.holds[lease.lane.provider]
            if not known.holds:
                del self._workers[worker]
        return hold

    def lapsed(self, now: float) -> list[Hold]:
        """End all leases of the workers that were silent for too long."""
        lost: list[Hold] = []
        for name, worker in list(self._workers.items()):
            if worker.alive_at + self.seconds <= now:
                del self._workers[name]
                for holds in worker.holds.values():
                    lost += holds.values()
        return lost

    def next_lapses(self, providers: Iterable[str], *, but: str) -> Iterator[float]:
        """When the other workers lose leases at those providers, if they stay silent."""
        for name, worker in self._workers.items():
            if name != but and any(provider in worker.holds for provider in providers):
                yield worker.alive_at + self.seconds
