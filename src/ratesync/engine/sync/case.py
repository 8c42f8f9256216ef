"""One record, or pair of records, that a pass is looking at."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, field

from ratesync.engine.sync.side import Order
from ratesync.model.conflict import FieldConflict
from ratesync.model.difference import Side
from ratesync.model.held import Held
from ratesync.model.link import RecordLink
from ratesync.model.mark import Lack, Mark
from ratesync.model.outcome import Outcome
from ratesync.rules.first_match import Situation
from ratesync.rules.reconcile import Action, Reconciliation
from ratesync.rules.situations import Response


class CaseState(Enum):
    """How far a case is."""

    OPEN = "open"
    """Another round is due."""
    DONE = "done"
    """Nothing is left to do; its marks are cleared, unless they are newer."""
    LEFT = "left"
    """Left for a later pass; its marks stay."""


@define(eq=False)
class Case:
    """What is known of it, and what is to be done. Lives for one chunk of a pass."""

    marks: list[Mark]
    link: RecordLink | None = None
    """As it is stored."""
    revision: int = 0
    """Of the stored link."""
    held: dict[Side, Held] = field(factory=dict[Side, Held])
    """What the sides hold; a side that is missing here has no such record."""
    unfound: frozenset[tuple[Side, str]] = frozenset()
    """Records that it is about, and that a side did not find which may be wrong about it."""
    is_doubted: bool = False
    """One of them was not found for the first time: another round looks again before anything depends on it."""
    found: Reconciliation | None = None
    orders: dict[Side, Order] = field(factory=dict[Side, Order])
    """What is to be written in this round."""
    finishes_earlier: bool = False
    """The orders carry on with a step that was begun earlier."""
    conflicts: tuple[FieldConflict, ...] = ()
    """What is deferred."""
    pending: tuple[FieldConflict, ...] = ()
    """What may not be written, or not yet."""
    lacks: tuple[Lack, ...] = ()
    """The records that must be linked before all of it can be written. Its marks stay until then."""
    situation: Situation | None = None
    response: Response | None = None
    """What was done about the situation, where the policy says that."""
    answers: dict[Side, Outcome] = field(factory=dict[Side, Outcome])
    """What the writes of this round came to."""
    is_sent: bool = False
    """One of them was sent, or is about to be."""
    next: RecordLink | None = None
    """What the link is to become with the next commit."""
    state: CaseState = CaseState.OPEN
    actions: list[Action] = field(factory=list[Action])
    """What was done, for the record of the pass."""
    reason: str = ""
    """Why it was left, or what is wrong."""
    met: tuple[Side, str] | None = None
    """The record that had no link when it was opened."""

    @property
    def unlinked(self) -> tuple[Side, str] | None:
        """The record that has no link."""
        return None if self.link is not None else (self.marks[0].side, self.marks[0].record_id)

    def record_id(self, side: Side) -> str | None:
        """The id of its record on a side."""
        if self.link is not None:
            return self.link.end(side).record_id
        return self.marks[0].record_id if self.marks and self.marks[0].side is side else None

    def doubt(self, lagging: Iterable[Side]) -> None:
        """Note what was not found just now on the sides that may lag: one look that finds nothing proves nothing."""
        ids = ((side, self.record_id(side)) for side in lagging if side not in self.held)
        unfound = frozenset((side, record_id) for side, record_id in ids if record_id is not None)
        self.is_doubted, self.unfound = not unfound <= self.unfound, unfound

    def leave(self, reason: str) -> None:
        """Leave it for a later pass."""
        self.state = CaseState.LEFT
        self.reason = reason

    def wait(self, lacks: Iterable[Lack], reason: str) -> None:
        """Leave it until the records that it refers to are linked."""
        self.leave(reason)
        self.lacks, self.next, self.orders = tuple(lacks), None, {}

    @property
    def untouched(self) -> tuple[FieldConflict, ...]:
        """The fields whose bases stay as they were."""
        return (*self.conflicts, *self.pending)
