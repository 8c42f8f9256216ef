"""What a reconcile is about to do to a record, written down before it does it."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from ratesync.model.conflict import Loser
from ratesync.model.difference import Side, View


@frozen
class Decided:
    """What was read, and what was decided by it."""

    view: View = field(repr=False)
    """What both sides were to hold, for the decided fields only; ``ABSENT`` if the field was to go.

    It is never a base: a side may never have held it. Fields that were deferred, or left alone, are not in it.
    """
    pre_local: View = field(repr=False)
    """What the local side held when it was decided."""
    pre_external: View = field(repr=False)
    losers: tuple[Loser, ...] = ()
    """What the decision drops. The writes may be half done, so they are told again."""
    as_external: View | None = field(default=None, repr=False)
    """``view`` as the mapping brings it back from the provider, where that differs: rounded, shortened, in lower case.
    None: as it is."""
    as_local: View | None = field(default=None, repr=False)
    """The same of the local side."""

    def meant(self, side: Side) -> View:
        """``view`` as a side would hold it."""
        held = self.as_local if side is Side.LOCAL else self.as_external
        return self.view if held is None else held


@frozen
class Creating:
    """A record is to be made on ``side``, after the one of the other side."""

    side: Side
    view: View = field(repr=False)
    """What is sent. It is the new record's base, whatever the other side holds by the time it is found again."""
    record_id: str | None = None
    """The id that we chose for it; None if the side chooses."""
    source_version: str | None = None
    """The version of the other side's record when it was decided."""
    over_at: float = 0.0
    """Instant after which the record is surely not being made any more: it is there by then, or was never made."""


@frozen
class Deleting:
    """The record of ``side`` is to go, or to be archived. Only the very record that was read: never one made since."""

    side: Side
    version: str | None
    view: View = field(repr=False)
    losers: tuple[Loser, ...] = ()
    """Edits that it drops."""


Step = Decided | Creating | Deleting


@frozen
class Intent:
    """A step that may be half done. Whoever finds it finds out first how far it came."""

    op_id: str
    """The same on every attempt: it is the idempotency key of the step's writes."""
    owner: str
    """The pass that carries it out."""
    until: float
    """Instant up to which others leave it to its owner."""
    started_at: float
    step: Step


class Fate(Enum):
    """What became of a creation whose answer was lost, where it is not known to have been made."""

    NOT_MADE = "not made"
    IN_DOUBT = "in doubt"
    """Ask again later."""
    CANNOT_TELL = "cannot tell"
    """There is no way to find out: a person must look."""
