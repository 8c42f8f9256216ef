from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.operation import OperationState
from ratesync.rules.lifecycle import FINAL, TRANSITIONS, Move, mermaid, move

MOVES = """
    -         enqueue  -> available
    -         schedule -> scheduled
    scheduled due      -> available
    available claim    -> leased
    retryable claim    -> leased
    leased    release  -> available
    leased    retry    -> retryable
    leased    lapse    -> retryable
    leased    complete -> completed
    leased    die      -> dead
    scheduled cancel   -> cancelled
    available cancel   -> cancelled
    retryable cancel   -> cancelled
    leased    cancel   -> cancelled
    dead      replay   -> available
    dead      discard  -> -
"""
STATES = (None, *OperationState)


def state_named(name: str) -> OperationState | None:
    return None if name in {"-", "[*]"} else OperationState(name)


def known_moves() -> dict[tuple[OperationState | None, Move], OperationState | None]:
    rows = [line.split() for line in MOVES.strip().splitlines()]
    return {(state_named(before), Move(name)): state_named(after) for before, name, _, after in rows}


def test_the_table_has_the_known_moves_and_no_other() -> None:
    assert dict(TRANSITIONS) == known_moves()


@pytest.mark.parametrize(("state", "name"), list(itertools.product(STATES, Move)))
def test_a_move_follows_the_table_or_is_refused(state: OperationState | None, name: Move) -> None:
    if (state, name) in TRANSITIONS:
        assert move(state, name) is TRANSITIONS[state, name]
    else:
        with pytest.raises(ValueError, match=rf"{state or 'unknown'} cannot {name}"):
            move(state, name)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[None, Move.CLAIM] = OperationState.LEASED  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


@given(st.data())
def test_every_path_can_end_and_a_final_state_is_left_by_the_host_only(data: st.DataObject) -> None:
    state: OperationState | None = None
    for _ in range(data.draw(st.integers(1, 20))):
        open_moves = [name for before, name in TRANSITIONS if before is state]
        if not open_moves:
            assert state in {OperationState.COMPLETED, OperationState.CANCELLED}
            return
        chosen = data.draw(st.sampled_from(open_moves))
        assert state not in FINAL or chosen in {Move.REPLAY, Move.DISCARD}
        state = move(state, chosen)
    assert reachable(state) & FINAL or state in FINAL


def reachable(start: OperationState | None) -> set[OperationState | None]:
    seen = {start}
    for _ in TRANSITIONS:
        seen |= {after for (before, _), after in TRANSITIONS.items() if before in seen}
    return seen


def test_every_state_can_be_reached() -> None:
    assert reachable(None) == set(STATES)


def test_only_completed_cancelled_and_dead_are_final() -> None:
    assert {OperationState.COMPLETED, OperationState.CANCELLED, OperationState.DEAD} == FINAL


def test_the_diagram_has_each_move_of_the_table_once() -> None:
    title, *lines = mermaid().splitlines()
    drawn = [line.replace(":", "").split() for line in lines]
    assert title == "stateDiagram-v2"
    assert [(state_named(before), Move(name), state_named(after)) for before, _, after, name in drawn] == [
        (before, name, after) for (before, name), after in TRANSITIONS.items()
    ]
