"""When a value was changed, as far as the side that holds it tells."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Certainty(StrEnum):
    """What a time says of one field."""

    CERTAIN = "certain"
    """The field was changed just then."""
    POSSIBLE = "possible"
    """The record was changed then, and the field then or before."""


@frozen
class ChangeTime:
    """When one side changed a field. Instants are seconds since the epoch, by that side's own clock."""

    record_at: float | None = None
    """The record's last change; None: not told, or the last change was a write of ours."""
    field_at: float | None = None
    """The field's last change; None: not told."""

    @property
    def at(self) -> float | None:
        """The field's last change, or else the record's."""
        return self.record_at if self.field_at is None else self.field_at

    @property
    def certainty(self) -> Certainty:
        """What :attr:`at` says of the field."""
        return Certainty.POSSIBLE if self.field_at is None else Certainty.CERTAIN
