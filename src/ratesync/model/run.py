"""What a pass of a sync did."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

MOST_SAMPLES = 5
"""Records that a run names, of those in one situation."""
MOST_REASONS = 20
"""Reasons that a run counts."""


@define
class SyncRun:
    """The record of one pass."""

    run_id: str
    started_at: float
    finished_at: float | None = None
    actions: Counter[str] = field(factory=Counter[str])
    """How many records came to which action."""
    left: int = 0
    """Records that are left for a later pass."""
    held: int = 0
    """Deletes that wait for approval."""
    hold_reason: str = ""
    """Why they do."""
    errors: list[str] = field(factory=list[str])
    situations: Counter[str] = field(factory=Counter[str])
    """How many records were found in which situation, and what was done, as in ``"local only: create"``."""
    samples: dict[str, list[str]] = field(factory=dict[str, list[str]])
    """Some records of each, at most :data:`MOST_SAMPLES`: a side and an id, as in ``"local 17"``."""
    reasons: Counter[str] = field(factory=Counter[str])
    """Why records were left: the first :data:`MOST_REASONS` that came up, without values."""

    @property
    def needs_approval(self) -> bool:
        """Deletes wait for somebody to approve them."""
        return self.held > 0
