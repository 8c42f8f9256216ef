"""What a sync keeps for people to look at: conflicts that wait, and values that were dropped."""

from __future__ import annotations

from attrs import frozen

from ratesync.model.conflict import FieldConflict, Loser


@frozen
class OpenConflict:
    """A field of a linked record that waits for a person. Both values stay until then."""

    link_id: str
    local_id: str | None
    external_id: str | None
    conflict: FieldConflict


@frozen
class Dropped:
    """Values that one step dropped."""

    op_id: str
    link_id: str
    local_id: str | None
    external_id: str | None
    at: float
    """Instant, in seconds since the epoch."""
    losers: tuple[Loser, ...]
