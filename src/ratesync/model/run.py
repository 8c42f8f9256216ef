"""What a pass of a sync did."""

from __future__ import annotations

from collections import Counter

from attrs import define, field


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

    @property
    def needs_approval(self) -> bool:
        """Deletes wait for somebody to approve them."""
        return self.held > 0
