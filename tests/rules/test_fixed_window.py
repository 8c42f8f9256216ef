"""Windows that begin at set instants. The window in these tests is [START, START + 100) by our clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import Reading
from ratesync.model.quota import Budget, FixedWindow
from ratesync.rules.calendar import starts_every
from ratesync.rules.fixed_window import GUARD, MOST_GUARD, CountedWindow, open_budget, open_fixed_window

START = 1_700_000_100.0
END = START + 100
GAP = 0.25
"""Seconds of guard."""


def opened(permits: int = 5, now: float = START, doubt_until: float = -math.inf) -> CountedWindow:
    start = starts_every(100, START)(now)
    return CountedWindow(
        permits=permits,
        next_start=starts_every(100, START),
        guard=GAP,
        ends_between=(start - GAP, start + GAP),
        per=100,
        doubt_until=doubt_until,
    )


def spend(window: CountedWindow, cost: int, now: float, *, until: float | None = None) -> None:
    assert window.take(cost, now)
    window.settle(cost, cost, now, now if until is None else until)


def test_permits_are_free_until_the_limit() -> None:
    window = opened()
    assert window.take(3, START)
    assert not window.take(3, START)
    spend(window, 2, START)
    assert window.used(START) == 5
    assert not window.take(1, START + 99)


def test_all_permits_are_free_again_when_the_next_window_has_surely_begun() -> None:
    window = opened()
    spend(window, 5, START)
    assert window.free_at(1, START) == window.free_at(5, START) == END + GAP
    assert not window.take(1, END + GAP - 1e-6)
    assert window.used(END + GAP) == 0
    assert window.is_idle(END + GAP)
    assert window.take(5, END + GAP)


@pytest.mark.parametrize(("ended_at", "used"), [(END - 1, 0), (END - GAP, 2), (END, 2), (END + GAP - 1e-6, 2)])
def test_a_call_that_ended_around_the_start_of_a_window_counts_in_both(ended_at: float, used: int) -> None:
    window = opened()
    spend(window, 2, START, until=ended_at)
    assert window.used(ended_at) == 2
    assert window.used(END + GAP) == used
    assert window.used(END + 100 + GAP) == 0


def test_what_counts_in_the_next_window_is_not_free_before_the_one_after() -> None:
    window = opened()
    spend(window, 3, END - 0.1)
    assert window.free_at(3, END) == END + GAP + 100
    assert window.free_at(2, END) == END
    assert window.take(2, END)
    assert window.free_at(2, END) == END + 100 + GAP, "the call under way leaves room for two then"
    assert window.free_at(4, END) == math.inf, "and for no more before it ends"
    assert window.earliest_at(4, END) == END + 100 + GAP


def test_a_call_under_way_counts_in_each_window_that_it_sees() -> None:
    window = opened()
    window.take(5, START)
    assert not window.take(1, START + 1_050)
    assert window.free_at(1, START + 1_050) == math.inf
    assert window.earliest_at(5, START + 1_050) == START + 1_050
    window.settle(5, 5, START, START + 1_050)
    assert window.free_at(1, START + 1_050) == START + 1_100 + GAP


def test_a_window_that_passed_unseen_leaves_nothing_of_the_one_before() -> None:
    window = opened()
    spend(window, 5, END)
    assert window.used(START + 199) == 5
    other = opened()
    spend(other, 5, END)
    assert other.used(START + 350) == 0
    assert other.free_at(5, START + 350) == START + 350


def test_a_refund_is_free_at_once() -> None:
    window = opened()
    window.take(5, START)
    window.refund(5)
    assert window.is_idle(START)


def test_what_was_charged_counts() -> None:
    window = opened()
    window.take(5, START)
    window.settle(5, 2, START, START + 1)
    assert window.used(START + 1) == 2


def test_kept_permits_stay() -> None:
    window = opened()
    assert not window.take(4, START, kept=2)
    assert window.take(3, START, kept=2)
    assert window.free_at(1, START, kept=2) == math.inf
    assert window.earliest_at(1, START, kept=2) == START
    assert window.take(2, START)


def test_what_others_used_counts_until_the_window_ends() -> None:
    window = opened()
    spend(window, 1, START)
    window.learn(Reading(limit=5, remaining=1), START, START)
    assert window.used(START) == 4
    assert window.free_at(2, START) == END + GAP
    assert window.used(END + GAP) == 0


def test_permits_of_calls_under_way_may_be_part_of_what_is_told() -> None:
    window = opened()
    window.take(3, START)
    window.learn(Reading(remaining=1), START, START)
    assert window.used(START) == 4


def test_more_than_we_count_is_never_told_to_be_there() -> None:
    window = opened()
    spend(window, 4, START)
    window.learn(Reading(limit=50, remaining=49), START, START)
    assert (window.limit, window.used(START)) == (5, 4)


def test_a_lower_limit_is_kept_until_another_is_told() -> None:
    window = opened()
    window.learn(Reading(limit=2), START, START)
    assert window.limit == 2
    assert not window.take(3, START)
    window.learn(Reading(limit=0), START, START)
    assert window.limit == 1
    window.learn(Reading(), START, START)
    assert window.limit == 5


def test_an_answer_of_an_older_call_or_window_tells_nothing_new() -> None:
    window = opened()
    window.learn(Reading(remaining=3), START + 5, START + 6)
    window.learn(Reading(remaining=0), START + 4, START + 7)
    assert window.used(START + 7) == 2
    window.learn(Reading(remaining=0), END, END + 1)
    assert window.used(END + 1) == 0, "the call may have been counted in the window before"
    window.learn(Reading(remaining=0), END + GAP, END + 2)
    assert window.used(END + 2) == 5


def test_a_told_end_narrows_when_it_may_be() -> None:
    window = CountedWindow(
        permits=5, next_start=starts_every(100, START), guard=5, ends_between=(END - 5, END + 5), per=100
    )
    window.learn(Reading(reset_after=47), START + 50, START + 50.5)
    assert window.ends_between == (END - 4, END - 1.5)
    window.learn(Reading(reset_after=37), START + 60, START + 60.1)
    assert window.ends_between == (END - 4, END - 1.9)
    spend(window, 5, START + 70)
    assert window.free_at(1, START + 70) == END - 1.9
    assert window.take(5, END - 1.9)
    assert window.guard == pytest.approx(1.05)
    assert window.ends_between == pytest.approx((END + 96, END + 98.1)), "the next one ends as much later"


def test_what_is_told_wins_where_it_contradicts_the_calendar() -> None:
    window = opened()
    spend(window, 5, START)
    window.learn(Reading(reset_after=30), START + 10, START + 10.2)
    assert window.ends_between == pytest.approx((START + 39, START + 41.2))
    assert window.free_at(5, START + 10.2) == pytest.approx(START + 41.2)
    assert window.used(START + 41.2) == 0
    assert window.ends_between == pytest.approx((START + 139, START + 141.2))


def test_calls_that_ended_when_the_window_may_have_ended_already_count_in_the_next_one_too() -> None:
    window = opened()
    spend(window, 5, START + 10)
    window.learn(Reading(reset_after=0), START + 10.5, START + 10.6)
    assert window.used(START + 12) == 5, "it may have begun at 9.5 already"
    later = opened()
    spend(later, 5, END - 0.1)
    later.learn(Reading(reset_after=20), END - 0.1, END - 0.1)
    assert later.carried == 0, "it ends in 19 s, not in guard's reach of now"


def test_what_is_told_too_vaguely_is_not_heard() -> None:
    window = CountedWindow(
        permits=5, next_start=starts_every(2, START), guard=0.04, ends_between=(START + 1.96, START + 2.04), per=2
    )
    window.learn(Reading(reset_after=0), START + 0.1, START + 0.2)  # the end is within a second: that is the window
    assert window.ends_between == (START + 1.96, START + 2.04)


def test_a_calendar_is_not_corrected() -> None:
    window = open_budget(Budget(5), START)
    before = window.ends_between
    window.learn(Reading(remaining=1, reset_after=30), START, START)
    assert window.ends_between == before
    assert window.used(START) == 4


def test_in_doubt_calls_go_one_at_a_time() -> None:
    window = opened(doubt_until=START + 60)
    assert window.take(1, START)
    assert not window.take(1, START)
    assert window.free_at(1, START) == START + 60
    assert window.earliest_at(1, START) == START
    window.settle(1, 1, START, START + 1)
    assert window.take(1, START + 1)
    assert window.take(1, START + 60)


def test_the_first_answer_ends_the_doubt() -> None:
    window = opened(doubt_until=START + 60)
    spend(window, 1, START)
    window.learn(Reading(remaining=3), START, START)
    assert window.take(1, START)
    assert window.take(2, START)
    assert not window.take(1, START)


def test_an_answer_that_tells_nothing_of_what_is_left_does_not_end_the_doubt() -> None:
    window = opened(doubt_until=START + 60)
    window.learn(Reading(limit=5), START, START)
    assert window.take(1, START)
    assert not window.take(1, START)


def test_a_refusal_in_doubt_says_that_the_window_is_used_up() -> None:
    window = opened(doubt_until=START + 60)
    spend(window, 1, START)
    window.refuse(START, START, is_sure=False)
    assert window.used(START) == 5
    assert window.free_at(1, START) == END + GAP


def test_a_sure_refusal_says_that_the_window_is_used_up_and_another_does_not() -> None:
    window = opened()
    window.take(1, START)
    window.refuse(START, START, is_sure=False)
    assert window.used(START) == 1
    window.refuse(START, START, is_sure=True)
    assert window.used(START) == 5
    assert window.used(END + GAP) == 1


def test_a_refusal_of_a_call_from_the_window_before_says_nothing_of_this_one() -> None:
    window = opened()
    window.take(1, START)
    after = END + GAP
    window.settle(1, 1, START, after)
    used = window.used(after)
    window.refuse(START, after, is_sure=True)
    assert window.used(after) == used


def test_the_guard_is_a_share_of_the_window_but_never_long() -> None:
    short = open_fixed_window(FixedWindow(5, per=2), START, doubt_until=-math.inf)
    assert short.guard == GUARD * 2
    assert short.ends_between == (START + 2 - GUARD * 2, START + 2 + GUARD * 2)
    assert open_fixed_window(FixedWindow(5, per=3_600), START, doubt_until=-math.inf).guard == MOST_GUARD
    assert open_budget(Budget(5), START).guard == MOST_GUARD


def test_the_doubt_ends_with_the_window_at_the_latest() -> None:
    window = open_fixed_window(FixedWindow(5, per=100), START, doubt_until=END + 40)
    assert window.doubt_until == window.ends_between[1] == END + GAP
    assert open_fixed_window(FixedWindow(5, per=100), START, doubt_until=START + 9).doubt_until == START + 9


@given(
    st.floats(0, GAP) | st.floats(3, 97),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1), st.integers(0, 1)), max_size=20),
)
def test_what_is_told_in_whole_seconds_never_rules_the_true_end_out(
    phase: float, answers: list[tuple[float, float, int]]
) -> None:
    """The provider's windows begin ``phase`` seconds later than the calendar says; it rounds up or down."""
    window, now = opened(), START + 0.5
    for wait, way, up in answers:
        now += wait
        true_end = starts_every(100, START + phase)(now + way / 2)
        told = math.floor(true_end - (now + way / 2)) + up
        window.learn(Reading(reset_after=told), now, now + way)
        ends = window.ends_between
        assert any(ends[0] - 1e-6 <= end <= ends[1] + 1e-6 for end in (true_end - 100, true_end, true_end + 100))
        now += way
