"""What a provider's answers tell of its quotas."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen


class ThrottleCause(StrEnum):
    """Which kind of quota a call was refused for."""

    RATE = "rate"
    """Too many calls in a window."""
    CONCURRENCY = "concurrency"
    """Too many calls at the same time."""
    BUDGET = "budget"
    """The allowance of the day or month is used up."""
    OVERLOAD = "overload"
    """No quota at all: the provider has more to do than it can."""


@frozen(kw_only=True)
class Reading:
    """How one of its quotas stands, as the provider tells it. What it does not tell is None."""

    limit: int | None = None
    """Most permits."""
    remaining: int | None = None
    """Permits left, this call counted."""
    reset_after: float | None = None
    """Seconds until permits come back: until the next window begins, or the sliding one frees some."""
    per: float | None = None
    """Length of the window in seconds."""


@frozen(kw_only=True)
class Feedback:
    """What one answer tells of quotas."""

    readings: tuple[Reading, ...] = ()
    charged: Mapping[str, int] = field(factory=dict[str, int])
    """What the call cost in the end, by unit; where this is less than was asked for, the rest is free again."""
    cause: ThrottleCause | None = None
    """Why the call was refused, where the provider tells."""
    hold_for: float | None = None
    """Seconds for which the provider asks to be left alone although it carried the call out."""


NO_FEEDBACK = Feedback()
"""The answer told nothing."""
