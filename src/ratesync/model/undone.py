"""What came of taking a decision back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import field, frozen

from ratesync.model.difference import ABSENT


class UndoResult(StrEnum):
    """What became of it."""

    DONE = "done"
    """The dropped value stands where it was dropped, and the next pass carries it to the other side."""
    CHANGED = "changed"
    """Nothing was written: somebody has changed the field since, or that is not known. Whoever has seen what it holds
    now can ask again, with this answer."""
    GONE = "gone"
    """Nothing was written: a record is gone, or they are linked no more."""
    REFUSED = "refused"
    """Nothing was written, for another reason."""


@frozen
class Undone:
    """The answer."""

    result: UndoResult
    local: Any = field(default=ABSENT, repr=False)
    """What the field holds on the local side, where the result is ``CHANGED``."""
    external: Any = field(default=ABSENT, repr=False)
    reason: str = ""
    """Why it was refused; no values."""
