"""What a pass of a sync did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from attrs import define, field, frozen

from ratesync.model.difference import Side

MOST_TROUBLES = 20
"""Records that a run names, of those that something is wrong with."""
_ID_SHOWN = 100
"""Characters of an id that is too long."""


class RunKind(StrEnum):
    """What a pass goes through."""

    CHANGES = "changes"
    """The changes of both sides, and all marks."""
    MARKS = "marks"
    """Marks only: it was woken by a hint."""
    RESYNC = "resync"
    """All records of the sides, from the beginning."""


class RunPhase(StrEnum):
    """What a pass is doing, or was doing when it ended."""

    PULL = "pull"
    """Reading what changed, or listing all records."""
    RECONCILE = "reconcile"
    DELETE = "delete"
    DONE = "done"


@frozen
class RecordTrouble:
    """A record that was left, or set aside. No values of its fields."""

    side: Side
    record_id: str
    reason: str
    """In words and without values."""


MOST_SAMPLES = 5
"""Records that a run names, of those in one situation."""
MOST_REASONS = 20
"""Reasons that a run counts."""


@define
class SyncRun:
    """The record of one pass."""

    run_id: str
    started_at: float
    finished_at: float | None = None
    """None: it is under way, or its process was killed. ``updated_at`` tells when it was last heard of."""
    actions: Counter[str] = field(factory=Counter[str])
    """How many records came to which action."""
    left: int = 0
    """Records that are left for a later pass."""
    held: int = 0
    """Deletes that wait for approval."""
    hold_reason: str = ""
    """Why they do."""
    errors: list[str] = field(factory=list[str])
    """What failed as a whole, such as the feed of a side; types of errors, no values."""
    retry_after: float | None = None
    """Seconds for which a side that failed asked to be left alone."""
    kind: RunKind = RunKind.CHANGES
    """What it goes over."""
    phase: RunPhase = RunPhase.PULL
    """How far it has come."""
    number: int = 0
    """Its place in the history, counted from 1; 0 if it is not stored."""
    updated_at: float = 0.0
    """When it was stored last."""
    is_stopped: bool = False
    """It ended early, as the engine was left or the connection paused. What it did not come to stays marked."""
    is_resumed: bool = False
    """It went on with a resync that was broken off. ``pages`` and ``records`` count that one's, too."""
    pages: int = 0
    """Pages of both feeds that were read."""
    records: int = 0
    """Changes that they told, our own included."""
    missing: int = 0
    """Linked records that a whole listing lacks: each is looked at."""
    marks_left: int | None = None
    """Of a resync: marks that are still to be gone through; None until that is known."""
    cursors: dict[Side, tuple[str | None, str | None]] = field(
        factory=dict[Side, "tuple[str | None, str | None]"], repr=False
    )
    """The position in the feed of each side that was read: before, and behind what was read."""
    conflicts: int = 0
    """Conflicts that were opened, or are about other values now."""
    dropped: int = 0
    """Steps that dropped values. See ``engine.syncs.dropped``."""
    troubles: list[RecordTrouble] = field(factory=list[RecordTrouble])
    """Records that something is wrong with: the first :data:`MOST_TROUBLES` of them."""
    idle_before: int = 0
    """Passes of this engine since the stored one before that did nothing, and are not stored."""
    situations: Counter[str] = field(factory=Counter[str])
    """How many records were found in which situation, and what was done, as in ``"local only: create"``."""
    samples: dict[str, list[str]] = field(factory=dict[str, list[str]])
    """Some records of each, at most :data:`MOST_SAMPLES`: a side and an id, as in ``"local 17"``."""
    reasons: Counter[str] = field(factory=Counter[str])
    """Why records were left: the first :data:`MOST_REASONS` that came up, without values."""

    def note_impossible(self, side: Side, record_ids: Iterable[str]) -> None:
        """Tell of records that are passed over, as their ids cannot stand in a key of a state store."""
        reason = "its id is too long for a state store, or holds what no key can: it is not synced"
        shown = [record_id[:_ID_SHOWN].encode("utf-8", "replace").decode() for record_id in record_ids]
        told = [RecordTrouble(side, record_id, reason) for record_id in shown]
        self.troubles = list(dict.fromkeys([*self.troubles, *told]))[:MOST_TROUBLES]

    @property
    def needs_approval(self) -> bool:
        """Deletes wait for somebody to approve them."""
        return self.held > 0

    @property
    def failed(self) -> bool:
        """Something failed as a whole, so that the pass did not get through."""
        return bool(self.errors)
