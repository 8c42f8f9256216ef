"""A record as one side holds it, read just now."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.model.difference import View
from ratesync.model.record import Record


@frozen
class Held:
    """A record of one side, and what both sides see of it."""

    record: Record
    """In the side's own terms."""
    view: View = field(repr=False)

    @property
    def version(self) -> str | None:
        """The record's version; None if the side has none."""
        return self.record.version
