"""A lane as a row."""

from __future__ import annotations

from typing import Any

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState

STATES = (
    OperationState.SCHEDULED,
    OperationState.AVAILABLE,
    OperationState.LEASED,
    OperationState.RETRYABLE,
    OperationState.COMPLETED,
    OperationState.DEAD,
    OperationState.CANCELLED,
)
"""By the numbers under which they are stored."""
SCHEDULED, AVAILABLE, LEASED, RETRYABLE, COMPLETED, DEAD, CANCELLED = range(len(STATES))

COLUMNS = (
    *("number", "provider", "connection", "weight", "virtual_time", "parked_until", "is_paused", "ready", "held"),
    *("scheduled", "available", "leased", "retryable", "dead", "known", "rests", "timer_at", "wake_at"),
    *("is_open", "is_busy", "is_idle"),
)
SELECT = f"SELECT {', '.join(COLUMNS)} FROM lane"  # noqa: S608 - constants
COUNTED = {SCHEDULED: "scheduled", AVAILABLE: "available", LEASED: "leased", RETRYABLE: "retryable", DEAD: "dead"}


class LaneRow:
    """What is known of a lane. Changed in place; the book writes the columns that have changed."""

    number: int
    provider: str
    connection: str
    weight: float
    virtual_time: float
    parked_until: float
    is_paused: int
    ready: int
    """Mailboxes that are ready."""
    held: int
    """Mailboxes that are leased."""
    scheduled: int
    available: int
    leased: int
    retryable: int
    dead: int
    known: int
    """Operations, the finished ones included."""
    rests: int
    timer_at: float | None
    """The instant of the next schedule or rest."""
    wake_at: float | None
    """When there will be something to claim by itself."""
    is_open: int
    is_busy: int
    is_idle: int

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.__dict__.update(zip(COLUMNS, row, strict=True))
        self._stored = row
        self.has_timer_change = False

    @property
    def lane(self) -> Lane:
        """Its name."""
        return Lane(self.provider, self.connection)

    @property
    def pending(self) -> int:
        """Operations that are not finished."""
        return self.scheduled + self.available + self.leased + self.retryable

    def count(self, state: int, difference: int) -> None:
        """Note that so many operations more are in this state."""
        name = COUNTED.get(state)
        if name is not None:
            self.__dict__[name] += difference

    def plan(self, now: float) -> None:
        """Decide whether it may have a turn, and when there will be more to claim by itself."""
        wake_at = None
        if not self.is_paused:
            wake_at = self.timer_at
            if self.parked_until > now:
                if self.ready:
                    wake_at = self.parked_until
                elif wake_at is not None:
                    wake_at = max(wake_at, self.parked_until)
        self.wake_at = wake_at
        self.is_open = int(self.ready > 0 and not self.is_paused and self.parked_until <= now)
        self.is_busy = int(self.pending > 0)
        self.is_idle = int(not self.known and self.weight == 1.0)

    def changes(self) -> dict[str, Any]:
        """The columns that differ from what is stored; from then on they count as stored."""
        row = tuple(self.__dict__[name] for name in COLUMNS)
        if row == self._stored:
            return {}
        changed = {name: new for name, new, old in zip(COLUMNS, row, self._stored, strict=True) if new != old}
        self._stored = row
        return changed
