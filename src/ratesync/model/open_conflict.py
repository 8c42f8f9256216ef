"""What a sync keeps for people to look at: conflicts that wait, and values that were dropped."""

from __future__ import annotations

from attrs import frozen

from ratesync.model.conflict import FieldConflict, Loser


@frozen
class OpenConflict:
    """A field of a linked record that waits for a person. Both values stay until then."""

    link_id: str
    local_id: str | None
    """The host's record; None if the link has none."""
    external_id: str | None
    """The provider's record; None if the link has none."""
    conflict: FieldConflict
    """The field, what it was and what it is on both sides."""


@frozen
class Dropped:
    """Values that one step dropped."""

    op_id: str
    """Of the step, as the writes to the provider carry it."""
    link_id: str
    local_id: str | None
    """The host's record; None if the link has none."""
    external_id: str | None
    """The provider's record; None if the link has none."""
    at: float
    """Instant, in seconds since the epoch."""
    losers: tuple[Loser, ...]
    """Each with the side that held it and what took its place."""
