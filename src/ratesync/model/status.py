"""What the host sees of an operation it submitted."""

from __future__ import annotations

from attrs import frozen

from ratesync.model.lane import Lane
from ratesync.model.operation import Operation, OperationState
from ratesync.model.outcome import Outcome


@frozen
class OperationStatus:
    """Where an operation stands."""

    id: str
    lane: Lane
    state: OperationState
    attempts: int
    """Attempts counted so far; the first is 1."""
    enqueued_at: float
    """When it was accepted: an instant, in seconds since the epoch, as all here."""
    due_at: float | None
    """Instant of the next attempt, for a scheduled or retryable operation."""
    finished_at: float | None
    """When it ended; None while it is pending."""
    outcome: Outcome | None
    """None while it is pending, and for a cancelled one."""


@frozen
class DeadLetter:
    """An operation that will not be retried by itself: look at it, then replay or discard it."""

    id: str
    operation: Operation
    attempts: int
    """Attempts counted until it died."""
    died_at: float
    """When: an instant, in seconds since the epoch."""
    outcome: Outcome
    """Why: the last outcome."""
