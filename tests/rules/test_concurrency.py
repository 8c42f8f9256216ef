from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import Reading
from ratesync.rules.concurrency import Occupancy

NOW = 1_700_000_000.0


def test_permits_are_free_until_the_bound() -> None:
    places = Occupancy(3)
    assert places.take(2, NOW)
    assert not places.take(2, NOW)
    assert places.take(1, NOW)
    assert places.used(NOW) == 3


def test_an_ended_call_gives_its_permits_back_at_once() -> None:
    places = Occupancy(2)
    places.take(2, NOW)
    places.settle(2, 2, NOW, NOW + 1)
    assert places.take(2, NOW + 1)


def test_a_refunded_call_gives_its_permits_back_at_once() -> None:
    places = Occupancy(2)
    places.take(2, NOW)
    places.refund(2)
    assert places.is_idle(NOW)


def test_no_waiting_alone_frees_a_permit() -> None:
    places = Occupancy(2)
    assert places.free_at(2, NOW) == NOW
    places.take(1, NOW)
    assert places.free_at(1, NOW) == NOW
    assert places.free_at(2, NOW) == math.inf
    assert not places.is_idle(NOW + 1_000_000)


def test_a_call_under_way_may_end_at_any_moment() -> None:
    places = Occupancy(1)
    places.take(1, NOW)
    assert places.earliest_at(1, NOW) == NOW


def test_kept_permits_stay() -> None:
    places = Occupancy(3)
    assert places.take(2, NOW, kept=1)
    assert not places.take(1, NOW, kept=1)
    assert places.free_at(1, NOW, kept=1) == math.inf
    assert places.free_at(1, NOW) == NOW
    assert places.take(1, NOW)


def test_what_is_told_of_windows_changes_nothing() -> None:
    places = Occupancy(2)
    places.take(1, NOW)
    places.learn(Reading(limit=1, remaining=0), NOW, NOW)
    places.refuse(NOW, is_sure=True)
    assert places.used(NOW) == 1
    assert places.take(1, NOW)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(1, 5))))
def test_never_more_than_the_bound_is_under_way(bound: int, steps: list[tuple[bool, int]]) -> None:
    places, under_way = Occupancy(bound), list[int]()
    for ends, cost in steps:
        if ends and under_way:
            ended = under_way.pop()
            places.settle(ended, ended, NOW, NOW)
        elif places.take(cost, NOW):
            under_way.append(cost)
        else:
            assert sum(under_way) + cost > bound
        assert places.used(NOW) == sum(under_way) <= bound
