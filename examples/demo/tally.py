"""Counts what the engine reports, for the progress display."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ratesync import Lane
from ratesync.model.event import CallFinished, Event, Settled

from .crm_options import CrmAccount
from .progress import ConnectionProgress, QuotaProgress


class Tally:
    """An observer that adds up, connection by connection, to what was `done` before."""

    def __init__(self, done: Mapping[Lane, int]) -> None:
        self.done = Counter(done)
        self.retries: Counter[Lane] = Counter()
        self.refused: Counter[Lane] = Counter()
        self.dead = 0

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Settled(lane=lane):
                self.done[lane] += event.completed + event.dead
                self.retries[lane] += event.retried
                self.dead += event.dead
            case CallFinished(lane=lane, throttled=True):
                self.refused[lane] += 1
            case _:
                pass

    def progress(self, account: CrmAccount, lane: Lane, total: int, used: list[int]) -> ConnectionProgress:
        """One connection's line of the display; `used` are the permits used of each of its windows."""
        return ConnectionProgress(
            name=account.name,
            done=self.done[lane],
            total=total,
            queued=total - self.done[lane],
            retries=self.retries[lane],
            refused=self.refused[lane],
            quotas=tuple(
                QuotaProgress(window.permits, window.per, taken)
                for window, taken in zip(account.windows, used, strict=True)
            ),
        )
