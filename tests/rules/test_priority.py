from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.priority import PRIORITY_STEP, score

instants = st.floats(0, 4e9)
priorities = st.integers(-100, 100)
ROUNDING = 1e-5
"""Seconds; an instant of our time has a resolution of 2.4e-7."""


@given(instants, priorities, priorities, st.floats(ROUNDING, 1e6))
def test_low_priority_goes_before_what_came_late_enough(at: float, one: int, other: int, later: float) -> None:
    low, high = sorted((one, other))
    came_at = at + (high - low) * PRIORITY_STEP + later
    assert score(at, low, PRIORITY_STEP) < score(came_at, high, PRIORITY_STEP)


@given(instants, priorities, priorities, st.floats(ROUNDING, PRIORITY_STEP))
def test_high_priority_goes_before_what_did_not_wait_for_it(at: float, one: int, other: int, sooner: float) -> None:
    low, high = sorted((one, other))
    came_at = at + (high - low) * PRIORITY_STEP - sooner
    assert score(came_at, high, PRIORITY_STEP) < score(at, low, PRIORITY_STEP)


@given(instants, st.floats(ROUNDING, 1e6), priorities)
def test_equal_priorities_go_first_come_first_served(at: float, later: float, priority: int) -> None:
    assert score(at, priority, PRIORITY_STEP) < score(at + later, priority, PRIORITY_STEP)


def test_a_step_is_worth_a_minute() -> None:
    assert score(1000.0, 2, PRIORITY_STEP) == 880.0
    assert score(1000.0, -1, 10.0) == 1010.0
