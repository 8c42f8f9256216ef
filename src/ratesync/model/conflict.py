"""A field that both sides changed, what can be decided, and what is lost by it."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ratesync.model.change_time import ChangeTime
from ratesync.model.difference import NOT_KNOWN, Side


@frozen
class FieldConflict:
    """Both sides changed a field, and not to the same. Values may be ``ABSENT``, bases ``NOT_KNOWN``, too."""

    name: str
    """The field, as the view calls it."""
    base_local: Any = field(repr=False)
    """What the local side held after the last sync, as that side spells it."""
    base_external: Any = field(repr=False)
    """The same of the external side."""
    local: Any = field(repr=False)
    """What the local side holds now."""
    external: Any = field(repr=False)
    """What the external side holds now."""
    local_change: ChangeTime | None = None
    """When the local side changed it, where that side tells; by its own clock."""
    external_change: ChangeTime | None = None
    """The same of the external side."""


@frozen
class Take:
    """The value of one side holds."""

    side: Side


@frozen
class SetValue:
    """A third value holds; ``ABSENT`` takes the field away."""

    value: Any = field(repr=False)


@frozen
class Defer:
    """Nothing is decided yet: both values stay, and the field is left alone until somebody decides."""

    reason: str
    """Why a person must look, in words and without values."""


Resolution = Take | SetValue | Defer


@frozen
class Loser:
    """A value that a write is going to drop. To be stored before that write."""

    name: str
    side: Side
    """The side that holds it."""
    value: Any = field(repr=False)
    winner: Any = field(default=NOT_KNOWN, repr=False)
    """What is written in its place."""
