"""The moves of the lifecycle table, each as a lookup of its own: state before to state after.

The table decides; one dictionary for each move spares the hot paths a call and a tuple for each operation.
"""

from __future__ import annotations

from collections.abc import Mapping

from ratesync.model.operation import OperationState
from ratesync.rules.lifecycle import TRANSITIONS, Move

Moves = Mapping[OperationState, OperationState]


def _lookup(move: Move) -> Moves:
    return {before: after for (before, name), after in TRANSITIONS.items() if name is move and before and after}


_FIRST = {name: after for (before, name), after in TRANSITIONS.items() if before is None and after}

ENQUEUED = _FIRST[Move.ENQUEUE]
SCHEDULED = _FIRST[Move.SCHEDULE]
DUE = _lookup(Move.DUE)
CLAIM = _lookup(Move.CLAIM)
RELEASE = _lookup(Move.RELEASE)
RETRY = _lookup(Move.RETRY)
LAPSE = _lookup(Move.LAPSE)
COMPLETE = _lookup(Move.COMPLETE)
DIE = _lookup(Move.DIE)
CANCEL = _lookup(Move.CANCEL)
REPLAY = _lookup(Move.REPLAY)

ENDS: Mapping[OperationState, Moves] = {
    after: moves for moves in (COMPLETE, DIE, CANCEL) for after in set(moves.values())
}
"""How an operation gets into each of the states in which a settlement may end it."""

DISCARDABLE = frozenset(before for before, name in TRANSITIONS if name is Move.DISCARD and before)
"""States out of which an operation can be forgotten."""
