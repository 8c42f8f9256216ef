"""What a window learns from what providers tell, and how it goes while it is not known what was used before."""

from __future__ import annotations

import math

import pytest

from ratesync.model.feedback import Reading
from ratesync.model.quota import Rate
from ratesync.rules.credit import CREDIT, SLACK, TRUSTED_ROUND_TRIPS
from ratesync.rules.window import LONGEST_CALL, Window, open_window

START = 1_700_000_000.0


def opened(permits: int = 10, *, doubt_until: float = -math.inf) -> Window:
    return open_window(Rate(permits, per=10), doubt_until=doubt_until)


def spend(window: Window, cost: int, now: float, told: Reading | None = None) -> None:
    """A call that ends at once."""
    assert window.take(cost, now)
    window.settle(cost, cost, now, now)
    if told is not None:
        window.learn(told, now, now)


def test_what_others_used_counts_for_a_window() -> None:
    window = opened()
    spend(window, 1, START, Reading(limit=10, remaining=2))
    assert window.used(START) == 8
    assert window.take(2, START)
    assert not window.take(1, START)
    assert window.used(START + 10) == 2, "the call under way"


def test_a_lower_count_of_what_others_used_is_not_taken_for_the_newer_one() -> None:
    """Calls under way may not have been counted yet when it was told."""
    window = opened()
    spend(window, 1, START, Reading(limit=10, remaining=2))
    spend(window, 1, START + 1, Reading(limit=10, remaining=5))
    assert window.others == 7


def test_permits_of_calls_under_way_may_be_part_of_what_is_told() -> None:
    window = opened()
    window.take(4, START)
    spend(window, 1, START, Reading(remaining=5))
    assert window.used(START) == 5


def test_permits_that_came_free_meanwhile_may_be_part_of_what_is_told() -> None:
    window = opened()
    spend(window, 3, START, Reading(remaining=7))
    window.take(1, START + 9)
    assert window.used(START + 11) == 1
    window.settle(1, 1, START + 9, START + 11)
    window.learn(Reading(remaining=6), START + 9, START + 11)
    assert window.others == 0, "the provider counted three that have left, and one"


def test_what_came_free_is_remembered_for_as_long_as_a_call_may_take() -> None:
    window = opened()
    spend(window, 3, START, Reading(remaining=7))
    assert window.used(START + 10 + LONGEST_CALL) == 0
    assert len(window.gone) == 1
    window.used(START + 11 + LONGEST_CALL)
    assert not window.gone


def test_without_answers_that_tell_something_nothing_is_remembered() -> None:
    window = opened()
    spend(window, 3, START)
    window.used(START + 10)
    assert not window.gone


def test_more_than_we_count_is_never_told_to_be_there() -> None:
    window = opened()
    spend(window, 6, START, Reading(limit=100, remaining=99))
    assert (window.limit, window.used(START)) == (10, 6)


def test_a_lower_limit_is_kept_until_another_is_told() -> None:
    window = opened()
    spend(window, 1, START, Reading(limit=4))
    assert window.limit == 4
    assert not window.take(4, START)
    spend(window, 1, START, Reading(limit=0))
    assert window.limit == 1
    window.learn(Reading(), START, START)
    assert window.limit == 10


def test_an_answer_of_an_older_call_tells_nothing_new() -> None:
    window = opened()
    window.learn(Reading(remaining=6), START + 1, START + 2)
    window.learn(Reading(limit=2, remaining=0), START, START + 3)
    assert (window.limit, window.used(START + 3)) == (10, 4)


def test_what_comes_free_earlier_is_tried_by_one_call_at_a_time() -> None:
    window = opened()
    spend(window, 1, START, Reading(remaining=2, reset_after=3))
    assert window.take(1, START + 1)
    assert window.take(1, START + 1), "what is left now is known"
    assert not window.take(1, START + 2.9)
    assert window.free_at(1, START + 2) == START + 10, "two are under way then, so only when no doubt is left"
    window.refund(1)
    window.refund(1)
    assert window.free_at(3, START + 2) == START + 3
    assert window.take(1, START + 3)
    assert not window.take(1, START + 3), "how much came free, the answer will tell"
    assert window.take(1, START + 10)


def test_a_told_rest_as_long_as_the_window_leaves_no_doubt() -> None:
    window = opened()
    spend(window, 1, START, Reading(remaining=2, reset_after=10))
    assert window.free_at(3, START) == START + 10
    assert window.take(1, START + 10)
    assert window.take(1, START + 10)


def test_the_wait_goes_through_our_calls_and_those_of_others() -> None:
    window = opened()
    spend(window, 2, START)
    spend(window, 1, START + 1, Reading(remaining=1))
    assert window.used(START + 1) == 9
    spend(window, 1, START + 2)
    assert [window.free_at(cost, START + 2) for cost in (1, 2, 3, 9, 10)] == [
        *(START + 10, START + 10),
        *(START + 11, START + 11),
        START + 12,
    ]


def test_others_that_go_last_end_the_wait() -> None:
    window = opened()
    spend(window, 2, START)
    window.learn(Reading(remaining=1), START, START + 5)
    assert [window.free_at(cost, START + 5) for cost in (1, 3, 4, 10)] == [
        *(START + 5, START + 10, START + 15, START + 15)
    ]


def test_in_doubt_calls_go_one_at_a_time() -> None:
    window = opened(doubt_until=START + 10)
    assert window.take(1, START)
    assert not window.take(1, START)
    assert window.free_at(1, START) == START + 10
    assert window.earliest_at(1, START) == START
    window.settle(1, 1, START, START + 1)
    assert window.take(1, START + 1)
    assert window.take(1, START + 10)


def test_the_first_answer_ends_the_doubt() -> None:
    window = opened(doubt_until=START + 10)
    spend(window, 1, START, Reading(remaining=3))
    assert all(window.take(1, START) for _ in range(3))
    assert not window.take(1, START)


def test_a_refusal_in_doubt_says_that_the_window_is_used_up() -> None:
    window = opened(doubt_until=START + 10)
    spend(window, 1, START + 2)
    window.refuse(START + 2, START + 2, is_sure=False)
    assert window.used(START + 2) == 10
    assert window.free_at(1, START + 2) == START + 10
    assert window.used(START + 10) == 1
    assert window.take(4, START + 10)
    assert window.take(5, START + 10)


def trusted(shortest: float) -> Window:
    """A window that gives credit for such a way."""
    window = opened()
    window.credit.trusted = TRUSTED_ROUND_TRIPS
    window.take(1, START)
    window.settle(1, 1, START, START + shortest)
    return window


def test_a_refusal_doubles_the_slack_once_in_a_window() -> None:
    window = trusted(0.1)
    for now, times in ((START + 1, 2), (START + 10, 2), (START + 12, 4), (START + 23, 8)):
        window.refuse(now, now, is_sure=False)
        assert window.credit.slack == times * SLACK
        assert window.counted_for == pytest.approx(10 - (CREDIT * 0.1 - times * SLACK))
    for window_number in range(4, 9):
        window.refuse(START + window_number * 11, START + window_number * 11, is_sure=True)
    assert window.counted_for == 10, "the slack has eaten all of the credit"


def test_before_there_is_credit_a_refusal_earns_none() -> None:
    window = opened()
    spend(window, 1, START)
    window.refuse(START, START, is_sure=False)
    assert window.credit.slack == 2 * SLACK
    assert window.counted_for == 10


def test_a_refusal_that_others_explain_leaves_the_slack() -> None:
    window = opened()
    spend(window, 1, START, Reading(remaining=0))
    window.refuse(START, START, is_sure=False)
    assert window.credit.slack == SLACK
