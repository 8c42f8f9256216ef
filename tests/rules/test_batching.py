from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.batching import Departure, Waiting, depart, group, lane_bound

T0 = 1_700_000_000.0

steps = st.lists(st.tuples(st.sampled_from("abc"), st.integers()))


def label(step: tuple[str, int]) -> str:
    return step[0]


def test_steps_go_out_by_label_in_chunks() -> None:
    assert group(["a1", "b1", "a2", "a3", "b2"], lambda step: step[0], lambda _: 2) == [
        ["a1", "a2"],
        ["a3"],
        ["b1", "b2"],
    ]


def test_nothing_makes_no_batch() -> None:
    assert group([], label, lambda _: 3) == []


def test_labels_may_differ_in_how_many_go_together() -> None:
    steps = ["a1", "b1", "a2", "b2", "a3"]
    sizes = {"a": 1, "b": 9}
    batches = group(steps, lambda step: step[0], lambda step: sizes[step[0]])
    assert batches == [["a1"], ["a2"], ["a3"], ["b1", "b2"]]


@given(steps, st.integers(1, 5))
def test_every_step_goes_out_once_and_in_the_order_of_its_label(pairs: list[tuple[str, int]], size: int) -> None:
    batches = group(pairs, label, lambda _: size)
    for name in "abc":
        sent = [step for batch in batches for step in batch if step[0] == name]
        assert sent == [step for step in pairs if step[0] == name]


@given(steps, st.integers(1, 5))
def test_a_batch_has_one_label_and_is_full_unless_it_is_the_last_of_it(pairs: list[tuple[str, int]], size: int) -> None:
    batches = group(pairs, label, lambda _: size)
    assert all(len({label(step) for step in batch}) == 1 for batch in batches)
    assert all(len(batch) <= size for batch in batches)
    assert all(
        len(before) == size for before, after in itertools.pairwise(batches) if label(before[0]) == label(after[0])
    )


@given(steps, st.integers(1, 5))
def test_labels_come_in_the_order_of_their_first_step(pairs: list[tuple[str, int]], size: int) -> None:
    first_come = list(dict.fromkeys(label(step) for step in pairs))
    assert list(dict.fromkeys(label(batch[0]) for batch in group(pairs, label, lambda _: size))) == first_come


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        group([("a", 1)], label, lambda _: size)


SIZE = 10
CALLS = st.lists(
    st.builds(
        Waiting, st.integers(0, SIZE - 1), st.integers(0, 20).map(lambda tenths: T0 + tenths / 10), st.integers(0, 30)
    ),
    max_size=8,
)


def leave(calls: list[Waiting], **options: Any) -> Departure:
    given: dict[str, Any] = {
        "room": math.inf,
        "linger": 1.0,
        "more_follows": False,
        "in_line": len(calls),
        "now": T0,
    }
    return depart(calls, **(given | options))


def test_a_full_call_goes_at_once() -> None:
    assert leave([Waiting(0, T0, 0)]) == Departure((0,), math.inf)


def test_a_call_that_is_not_full_goes_when_it_has_lingered() -> None:
    assert leave([Waiting(SIZE - 1, T0, 0)]) == Departure((), T0 + 1)
    assert leave([Waiting(SIZE - 1, T0, 0)], now=T0 + 1) == Departure((0,), math.inf)


def test_without_a_linger_it_goes_unless_more_follows() -> None:
    assert leave([Waiting(SIZE - 1, T0, 0)], linger=0.0).go == (0,)
    assert leave([Waiting(SIZE - 1, T0, 0)], linger=0.0, more_follows=True) == Departure((), math.inf)


def test_the_fullest_goes_where_there_is_room_for_one() -> None:
    assert leave([Waiting(SIZE - 3, T0, 0), Waiting(SIZE - 7, T0, 0)], room=1, linger=0.0) == Departure((1,), math.inf)


def test_the_most_urgent_of_full_calls_goes_first_unless_others_were_passed_over_by_many() -> None:
    calls = [Waiting(0, T0, 7), Waiting(SIZE - 1, T0, 0), Waiting(0, T0, 0, priority=2)]
    assert leave(calls, room=1, in_line=1).go == (2,)
    assert leave([Waiting(0, T0, 12), *calls[1:]], room=1, in_line=1).go == (0,)


def test_what_was_passed_over_by_many_goes_before_what_is_full() -> None:
    calls = [Waiting(0, T0, 0), Waiting(SIZE - 1, T0 + 0.5, 8), Waiting(SIZE - 2, T0, 8)]
    assert leave(calls, in_line=2, more_follows=True).go == (2, 1, 0)
    assert leave(calls, in_line=3, more_follows=True).go == (0,)


@given(CALLS, st.integers(-2, 5), st.booleans(), st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 30))
def test_who_goes_had_a_reason_and_who_stays_too(
    calls: list[Waiting], room: int, more_follows: bool, linger: float, tenths: int
) -> None:
    now = T0 + tenths / 10
    decided = leave(calls, room=room, more_follows=more_follows, linger=linger, now=now)
    assert len(set(decided.go)) == len(decided.go) <= max(room, 0)
    due = {
        place
        for place, call in enumerate(calls)
        if call.lacks == 0
        or call.passed_by >= 4 * len(calls)
        or (not more_follows and call.since + linger <= now + 0.001)
    }
    assert set(decided.go) <= due
    assert len(decided.go) == min(len(due), max(room, 0))
    assert decided.next_at > now
    if len(due) < room and not more_follows and len(due) < len(calls):
        assert decided.next_at == min(call.since for place, call in enumerate(calls) if place not in due) + linger


@given(st.integers(1, 20), st.integers(1, 100), st.integers(0, 2000))
def test_enough_is_leased_to_fill_the_calls_that_wait(concurrency: int, size: int, waiting: int) -> None:
    bound = lane_bound(concurrency, size, waiting)
    assert bound >= concurrency * size + min(waiting, 4 * size)
    assert bound <= (concurrency + 4) * size
    assert bound == concurrency * size or waiting
