"""A create of which nobody knows what came of it."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.model.difference import Side, View


@frozen
class CreateInDoubt:
    """A record that may or may not have been made: its answer was lost, and nothing at the provider can tell.

    Nothing more is done about it, nor about the record that it was made after, until somebody who has looked says what
    came of it.
    """

    link_id: str
    op_id: str
    side: Side
    """Where it was to be made."""
    source_id: str | None
    """The record of the other side that it was made after."""
    view: View = field(repr=False)
    """What was sent."""
    asked_at: float
    """Instant at which it was sent, or a little earlier."""
