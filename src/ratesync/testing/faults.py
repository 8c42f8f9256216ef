"""What may go wrong at a provider, by chance or by the clock, and what did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen
from attrs.validators import and_, ge, le

_share = field(default=0.0, validator=and_(ge(0.0), le(1.0)))


class Fault(StrEnum):
    """One way for a call, or for one operation of it, to go wrong."""

    THROTTLED = "throttled"
    """429 with Retry-After; nothing is applied."""
    THROTTLED_SILENTLY = "throttled_silently"
    """429 without Retry-After."""
    UNAVAILABLE = "unavailable"
    """503; nothing is applied."""
    NOT_SENT = "not_sent"
    """No connection."""
    LOST_REQUEST = "lost_request"
    """The call fails in an unclear way and nothing was applied."""
    LOST_ANSWER = "lost_answer"
    """Everything is applied, but the caller is told that it failed."""
    HANG = "hang"
    """No answer at all, ever; nothing is applied."""
    HANG_AFTER = "hang_after"
    """Everything is applied, and no answer ever comes."""
    CRASH = "crash"
    """The adapter raises something unforeseen; nothing is applied."""
    MISSING_RESULT = "missing_result"
    """One operation has no result in the answer; it was applied, or not."""
    EXTRA_RESULT = "extra_result"
    """The answer has a result that nobody asked for."""
    REJECTED = "rejected"
    """One operation is refused for good."""


@frozen(kw_only=True)
class Faults:
    """How likely each fault is: shares between 0 and 1. Faults of a whole call exclude each other."""

    throttled: float = _share
    throttled_silently: float = _share
    unavailable: float = _share
    not_sent: float = _share
    lost_request: float = _share
    lost_answer: float = _share
    hang: float = _share
    hang_after: float = _share
    crash: float = _share
    missing_result: float = _share
    extra_result: float = _share
    rejected: float = _share
    outages: Sequence[tuple[float, float]] = ()
    """Spans of instants (from, to) in which nothing can be reached."""

    def of_call(self, now: float, source: random.Random) -> Fault | None:
        """The fault that a call made now meets, if any."""
        if any(start <= now < end for start, end in self.outages):
            return Fault.NOT_SENT
        lot = source.random()
        for fault in _CALL_FAULTS:
            lot -= getattr(self, fault)
            if lot < 0:
                return fault
        return None

    def of_operation(self, source: random.Random) -> Fault | None:
        """The fault that one operation of a call meets, if any."""
        lot = source.random()
        for fault in (Fault.REJECTED, Fault.MISSING_RESULT):
            lot -= getattr(self, fault)
            if lot < 0:
                return fault
        return None


_CALL_FAULTS = (
    Fault.THROTTLED,
    Fault.THROTTLED_SILENTLY,
    Fault.UNAVAILABLE,
    Fault.NOT_SENT,
    Fault.LOST_REQUEST,
    Fault.LOST_ANSWER,
    Fault.HANG,
    Fault.HANG_AFTER,
    Fault.CRASH,
    Fault.EXTRA_RESULT,
)

FaultCounts = Counter[Fault]
