"""What stands for a field that is not there, which is neither None nor an empty text."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Missing(Enum):
    """The type of :data:`MISSING`, its only value."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        """False, so that ``value or other`` reads well."""
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Literal[Missing.MISSING]] = Missing.MISSING
"""The field is not there. In a dict the key is absent; an attribute of a typed view holds this value."""
