from __future__ import annotations

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.line import Line


@frozen
class Waiter:
    priority: int
    place: tuple[float, int]


def lined_up(*priorities: int) -> tuple[Line[Waiter], list[Waiter]]:
    """Those who came one after the other, a second apart, and a step of priority is worth ten."""
    line = Line[Waiter]()
    waiters = [Waiter(priority, (number - 10.0 * priority, number)) for number, priority in enumerate(priorities)]
    for waiter in waiters:
        line.add(waiter, 2)
    return line, waiters


def test_who_came_first_is_first() -> None:
    line, (first, second, third) = lined_up(0, 0, 0)
    assert line.heads() == [first]
    assert list(line.in_order()) == [first, second, third]
    assert (len(line), line.wanted) == (3, 6)


def test_a_higher_priority_is_first() -> None:
    line, (low, normal, high) = lined_up(-1, 0, 2)
    assert line.heads() == [high]
    assert list(line.in_order()) == [high, normal, low]


def test_who_waited_for_longer_than_a_priority_is_worth_is_first_and_the_privileged_are_named_too() -> None:
    line, waiters = lined_up(*([0] * 12), 1, 1, 2)
    assert line.heads() == [waiters[14]]
    line.remove(waiters[14], 2)
    assert line.heads() == [waiters[0], waiters[12]]


def test_a_line_that_everybody_left_is_empty() -> None:
    line, waiters = lined_up(0, 1)
    assert line
    for waiter in waiters:
        line.remove(waiter, 2)
    assert not line
    assert line.wanted == 0


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=30))
def test_the_order_is_that_of_places(priorities: list[int]) -> None:
    line, waiters = lined_up(*priorities)
    assert list(line.in_order()) == sorted(waiters, key=lambda waiter: waiter.place)
    assert line.heads()[0] == min(waiters, key=lambda waiter: waiter.place)
