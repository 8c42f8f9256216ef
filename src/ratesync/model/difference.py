"""What a field holds in a view of a record, and what it may hold besides a JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Any

View = Mapping[str, Any]
"""A record as both sides see it: JSON values by field. A field that is not there is ``ABSENT``, not None."""


class Side(StrEnum):
    """One of the two that are kept alike."""

    LOCAL = "local"
    EXTERNAL = "external"

    @property
    def other(self) -> Side:
        """The side that this one is not."""
        return Side.EXTERNAL if self is Side.LOCAL else Side.LOCAL


class Absent(Enum):
    """In place of a value: the field is not there. In a patch: take it away."""

    ABSENT = "absent"


class NotKnown(Enum):
    """In place of a base: it is not known what the side held, as at a first sync. It differs from every value."""

    NOT_KNOWN = "not known"


ABSENT = Absent.ABSENT
NOT_KNOWN = NotKnown.NOT_KNOWN
