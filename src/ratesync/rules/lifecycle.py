"""The life of an operation, as one table of moves. The diagram in the documentation is drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from ratesync.model.operation import OperationState


class Move(StrEnum):
    """What can happen to an operation."""

    ENQUEUE = "enqueue"
    """It is accepted and may be carried out at once."""
    SCHEDULE = "schedule"
    """It is accepted for a later instant."""
    DUE = "due"
    """Its instant has come."""
    CLAIM = "claim"
    """A worker takes it."""
    RELEASE = "release"
    """The worker gives it back without having attempted it."""
    RETRY = "retry"
    """The worker attempted it and gives it back to be attempted again."""
    LAPSE = "lapse"
    """The worker lost its lease: nobody knows how far it had got."""
    COMPLETE = "complete"
    """It was applied."""
    DIE = "die"
    """It will not be retried by itself: it becomes a dead letter."""
    CANCEL = "cancel"
    """The host takes it back."""
    REPLAY = "replay"
    """The host puts the dead letter back into the queue."""
    DISCARD = "discard"
    """The host forgets the dead letter."""


_WAITING = (OperationState.SCHEDULED, OperationState.AVAILABLE, OperationState.RETRYABLE)

TRANSITIONS: Mapping[tuple[OperationState | None, Move], OperationState | None] = MappingProxyType(
    {
        (None, Move.ENQUEUE): OperationState.AVAILABLE,
        (None, Move.SCHEDULE): OperationState.SCHEDULED,
        (OperationState.SCHEDULED, Move.DUE): OperationState.AVAILABLE,
        (OperationState.AVAILABLE, Move.CLAIM): OperationState.LEASED,
        (OperationState.RETRYABLE, Move.CLAIM): OperationState.LEASED,
        (OperationState.LEASED, Move.RELEASE): OperationState.AVAILABLE,
        (OperationState.LEASED, Move.RETRY): OperationState.RETRYABLE,
        (OperationState.LEASED, Move.LAPSE): OperationState.RETRYABLE,
        (OperationState.LEASED, Move.COMPLETE): OperationState.COMPLETED,
        (OperationState.LEASED, Move.DIE): OperationState.DEAD,
        **{(state, Move.CANCEL): OperationState.CANCELLED for state in (*_WAITING, OperationState.LEASED)},
        (OperationState.DEAD, Move.REPLAY): OperationState.AVAILABLE,
        (OperationState.DEAD, Move.DISCARD): None,
    }
)
"""Every move there is: (state before, move) to the state after. None: the operation does not exist."""

FINAL = frozenset({OperationState.COMPLETED, OperationState.CANCELLED, OperationState.DEAD})
"""States that no operation leaves by itself."""


def move(state: OperationState | None, move: Move) -> OperationState | None:
    """The state after ``move``; None where the operation does not exist before or after.

    :raises ValueError: an operation in ``state`` cannot make this move.
    """
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise ValueError(f"an operation that is {state or 'unknown'} cannot {move}") from None


def mermaid() -> str:
    """The table as a Mermaid state diagram (``stateDiagram-v2``), one line for each move."""
    lines = [f"    {before or '[*]'} --> {after or '[*]'}: {name}" for (before, name), after in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", *lines, ""])
