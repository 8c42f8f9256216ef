"""Two sides that are kept alike, and by which rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import field, frozen

from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.side import SyncSide
from ratesync.model.difference import Side, View
from ratesync.model.direction import Direction
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.oscillation import OscillationPolicy
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import manual
from ratesync.rules.situations import Policy, complete


@frozen(kw_only=True)
class Pair:
    """Two sides, and how they are kept alike."""

    local: SyncSide
    external: SyncSide
    resolve: Resolve = field(factory=manual)
    gone: GonePolicy = field(factory=GonePolicy)
    guard: DeletePolicy = field(factory=DeletePolicy)
    oscillation: OscillationPolicy = field(factory=OscillationPolicy)
    match_keys: tuple[str, ...] = ()
    """Fields by which records of both sides are the same, at their first meeting. Empty: none are."""
    references: ReferenceTable = field(factory=ReferenceTable)
    """What fields refer to records of other bindings. The external side has the same one."""
    direction: Direction = Direction.BOTH
    policy: Policy = field(factory=lambda: complete({}, Direction.BOTH))
    """What is done about records by their situation: complete."""
    scope: Callable[[View], bool] | None = None
    """Whether a record is one of the pair's; None: all are."""

    def is_in_scope(self, views: Iterable[View]) -> bool:
        """Whether a record is one of the pair's, by its view on either side: an edit that ends that is carried over."""
        scope = self.scope
        return scope is None or any(map(scope, views))

    def side(self, side: Side) -> SyncSide:
        """One of the sides."""
        return self.local if side is Side.LOCAL else self.external
