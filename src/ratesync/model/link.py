"""A link: two records, one on each side, that are kept alike; and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from ratesync.model.difference import Side, View
from ratesync.model.intent import Intent


class LinkStatus(StrEnum):
    """Where a link stands."""

    ACTIVE = "active"
    TOMBSTONE = "tombstone"
    """Both records are gone. Kept, so that a late event or a stale read is known for what it is."""
    UNLINKED = "unlinked"
    """One record was deleted, and the other is left alone by policy."""
    QUARANTINED = "quarantined"
    """It failed in a way that does not pass. It is tried again when one of its records changes, and by a resync."""
    AMBIGUOUS_CREATE = "ambiguous create"
    """A record may or may not have been made, and nothing can tell: a person must look."""


@frozen
class LinkEnd:
    """One side of a link."""

    record_id: str | None = None
    """None: there is no record yet."""
    base: View | None = field(default=None, repr=False)
    """What the side held after the last sync, as that side spells it. None: not known."""
    version: str | None = None
    """The version that holds just ``base``; None: not known, so that contents must be compared."""
    unconfirmed: tuple[str, ...] = ()
    """Fields that we wrote as ``version``, with no answer yet of what the side made of them. ``base`` has them as sent.
    Not empty means that ``version`` may hold other changes too, for a side may change more than it is told to."""


@frozen
class RecordLink:
    """Two records that are one."""

    link_id: str
    local: LinkEnd = LinkEnd()
    external: LinkEnd = LinkEnd()
    status: LinkStatus = LinkStatus.ACTIVE
    intent: Intent | None = None
    """What may be half done."""
    deferred: Mapping[str, str] = field(factory=dict[str, str])
    """Fields with an open conflict, each with a digest of the values in question."""
    resolved: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    """Fields that a person decided: the digest of the values in question, and the resolution in plain JSON."""
    trouble: str = ""
    """Why it failed last; no values."""
    gone_on: Side | None = None
    """The side whose record was deleted, while the delete of the other one waits for the end of the pass, or for
    approval. None: no delete waits."""
    hold_reason: str = ""
    """Why a delete needs approval of its own, be it due already or not; empty if it needs none."""
    writes: tuple[tuple[float, str, str], ...] = ()
    """Our latest writes: instant, a digest of what was written, and to which side."""
    synced_at: float = 0.0
    seen: Mapping[Side, LinkEnd] = field(factory=dict[Side, LinkEnd], repr=False)
    """What the sides held when the link was set aside, or left as it is by policy; a side that held nothing is missing.
    As long as they hold just that, nothing is to be done. Empty as long as they are kept alike."""

    def end(self, side: Side) -> LinkEnd:
        """The link's end on a side."""
        return self.local if side is Side.LOCAL else self.external

    def with_end(self, side: Side, end: LinkEnd) -> RecordLink:
        """The same link with another end."""
        return evolve(self, local=end) if side is Side.LOCAL else evolve(self, external=end)

    @property
    def is_held(self) -> bool:
        """A delete waits."""
        return self.gone_on is not None

    @property
    def released(self) -> RecordLink:
        """The same link, with no delete that waits."""
        return evolve(self, gone_on=None, hold_reason="")

    @property
    def mended(self) -> RecordLink:
        """The same link, with nothing wrong: its records are kept alike again."""
        return evolve(self, status=LinkStatus.ACTIVE, trouble="", seen={})

    @property
    def is_over(self) -> bool:
        """Its records are not kept alike any more: both are gone, or the one that is left is left alone."""
        return self.status in {LinkStatus.TOMBSTONE, LinkStatus.UNLINKED}

    @property
    def bases(self) -> tuple[View | None, View | None]:
        """The bases of both ends: local, external."""
        return self.local.base, self.external.base
