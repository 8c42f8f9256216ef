"""How far a full resync has come, as it is stored: it survives the process."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from attrs import asdict, field, frozen

from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import CorruptItem
from ratesync.model.difference import Side
from ratesync.model.stored import Stored


class Stage(StrEnum):
    """What is done with a side."""

    LIST = "list"
    """Reading all its records, page by page."""
    COMPARE_MARKS = "compare marks"
    """Marking anew what is marked already, and was not among them."""
    COMPARE_LINKS = "compare links"
    """Marking linked records that were not among them."""
    CLEAN = "clean"
    """Forgetting which records were seen."""
    RECONCILE = "reconcile"
    """All sides were read: the marks are gone through."""


@frozen
class ResyncPosition:
    """The place to go on from."""

    epoch: str
    """Names this listing of this side: what was seen in another one does not count."""
    sides: list[str]
    """Sides that are still to be read, the one under way first."""
    stage: str = Stage.LIST
    cursor: str | None = None
    """Of the page to list next; or the key of the mark or link behind which to compare next."""
    feed: str | None = None
    """Where the side's feed goes on, once its listing has come to the end."""
    listed: dict[str, int] = field(factory=dict[str, int])
    """Records of each side."""
    before: dict[str, str | None] = field(factory=dict[str, "str | None"])
    """The cursors that are forgotten."""
    pages: int = 0
    records: int = 0
    missing: int = 0

    @classmethod
    def read(cls, stored: Stored | None) -> Self | None:
        """The position that was stored.

        :raises CorruptItem: the bytes are damaged.
        """
        if stored is None:
            return None
        try:
            return cls(**from_bytes(stored.value))
        except TypeError:
            raise CorruptItem("the stored position of a resync is damaged") from None

    def written(self) -> bytes:
        """What to store."""
        return to_bytes(asdict(self))

    @property
    def side(self) -> Side:
        """The side under way."""
        return Side(self.sides[0])
