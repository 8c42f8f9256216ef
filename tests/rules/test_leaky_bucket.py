from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import Reading
from ratesync.model.quota import LeakyBucket
from ratesync.rules.leaky_bucket import Bucket, open_bucket

START = 1_700_000_000.0


def full(permits: int = 10, restore: float = 2.0) -> Bucket:
    return open_bucket(LeakyBucket(permits, restore=restore), START, -math.inf)


def spend(bucket: Bucket, cost: int, now: float = START, charged: int | None = None) -> None:
    """A call that ends at once."""
    assert bucket.take(cost, now)
    bucket.settle(cost, cost if charged is None else charged, now, now)


def test_a_full_bucket_gives_all_that_it_holds() -> None:
    bucket = full()
    assert bucket.take(7, START)
    assert not bucket.take(4, START)
    assert bucket.take(3, START)
    assert bucket.used(START) == 10


def test_what_was_used_comes_back_at_its_rate() -> None:
    bucket = full()
    spend(bucket, 10)
    assert [bucket.used(START + seconds) for seconds in (0, 0.5, 0.75, 4.5, 5, 50)] == [10, 9, 9, 1, 0, 0]


def test_permits_are_free_as_soon_as_they_are_back() -> None:
    bucket = full()
    spend(bucket, 10)
    free_at = bucket.free_at(3, START)
    assert free_at == pytest.approx(START + 1.5, abs=2e-6)
    assert not bucket.take(3, START + 1.5 - 1e-6)
    assert bucket.take(3, free_at)


def test_a_bucket_holds_no_more_than_it_holds() -> None:
    bucket = full()
    spend(bucket, 4)
    spend(bucket, 10, START + 1_000)
    assert not bucket.take(1, START + 1_000)


def test_nothing_of_a_call_under_way_comes_back() -> None:
    bucket = full()
    bucket.take(10, START)
    assert bucket.used(START + 100) == 10
    assert bucket.free_at(1, START + 100) == math.inf
    assert bucket.earliest_at(1, START + 100) == START + 100
    assert not bucket.is_idle(START + 100)
    bucket.settle(10, 10, START, START + 100)
    assert bucket.free_at(1, START + 100) == pytest.approx(START + 100.5, abs=2e-6)
    assert bucket.is_idle(START + 105)


def test_a_refund_is_free_at_once() -> None:
    bucket = full()
    bucket.take(10, START)
    bucket.refund(10)
    assert bucket.is_idle(START)


@pytest.mark.parametrize(("charged", "used"), [(0, 0), (3, 3), (8, 8), (12, 12)])
def test_what_was_charged_is_missing(charged: int, used: int) -> None:
    bucket = full()
    spend(bucket, 8, charged=charged)
    assert bucket.used(START) == used


def test_kept_permits_stay() -> None:
    bucket = full()
    assert not bucket.take(8, START, kept=3)
    assert bucket.take(7, START, kept=3)
    assert bucket.free_at(1, START, kept=3) == math.inf
    assert bucket.take(3, START)


def test_what_others_took_is_missing_once_it_is_told() -> None:
    bucket = full()
    bucket.take(1, START)
    bucket.settle(1, 1, START, START)
    bucket.learn(Reading(limit=10, remaining=2), START, START)
    assert bucket.used(START) == 8


def test_what_came_back_since_the_call_began_may_not_be_missing_any_more() -> None:
    bucket = full()
    bucket.take(1, START)
    bucket.settle(1, 1, START, START + 2)
    bucket.learn(Reading(remaining=2), START, START + 2)
    assert bucket.used(START + 2) == 4


def test_calls_under_way_may_be_part_of_what_is_told_to_be_missing() -> None:
    bucket = full()
    bucket.take(1, START)
    bucket.take(4, START)
    bucket.settle(1, 1, START, START)
    bucket.learn(Reading(remaining=2), START, START)
    assert bucket.used(START) == 8


def test_more_than_we_count_is_never_told_to_be_there() -> None:
    bucket = full()
    spend(bucket, 9)
    bucket.learn(Reading(limit=40, remaining=39), START, START)
    assert (bucket.limit, bucket.used(START)) == (10, 9)


def test_a_lower_limit_is_kept_until_another_is_told() -> None:
    bucket = full()
    bucket.learn(Reading(limit=4), START, START)
    assert bucket.limit == 4
    assert not bucket.take(5, START)
    bucket.learn(Reading(limit=0), START, START)
    assert bucket.limit == 1
    bucket.learn(Reading(remaining=10), START, START)
    assert bucket.limit == 10


def test_an_answer_of_an_older_call_tells_nothing_new() -> None:
    bucket = full()
    bucket.learn(Reading(remaining=5), START, START + 1)
    bucket.learn(Reading(limit=2, remaining=0), START - 1, START + 1)
    assert (bucket.limit, bucket.used(START + 1)) == (10, 3)


def test_a_bucket_of_which_nothing_is_known_is_taken_for_empty_when_it_was_left_alone() -> None:
    bucket = open_bucket(LeakyBucket(10, restore=2), START, START)
    assert not bucket.take(1, START)
    assert bucket.free_at(1, START) == pytest.approx(START + 0.5, abs=2e-6)
    assert open_bucket(LeakyBucket(10, restore=2), START, START - 2).used(START) == 6
    assert open_bucket(LeakyBucket(10, restore=2), START, START - 5).is_idle(START)


def test_what_is_only_feared_goes_with_the_first_answer() -> None:
    bucket = open_bucket(LeakyBucket(10, restore=2), START, START - 1)
    spend(bucket, 1)
    bucket.learn(Reading(remaining=9), START, START)
    assert bucket.used(START) == 1
    bucket.learn(Reading(remaining=10), START, START)
    assert bucket.used(START) == 1, "from now on only what is known counts"


def test_an_answer_says_nothing_of_a_call_that_ended_while_it_was_on_its_way() -> None:
    bucket = open_bucket(LeakyBucket(10, restore=1), START, START - 5)
    bucket.take(1, START)
    bucket.take(2, START)
    bucket.settle(2, 2, START, START + 1)
    bucket.settle(1, 1, START, START + 1)
    bucket.learn(Reading(remaining=9), START, START + 1)
    assert bucket.used(START + 1) == 7
    spend(bucket, 1, START + 1)
    bucket.learn(Reading(remaining=6), START + 1, START + 1)
    assert bucket.used(START + 1) == 4


def test_calls_under_way_may_not_be_part_of_the_first_answer() -> None:
    bucket = open_bucket(LeakyBucket(10, restore=1), START, START - 5)
    bucket.take(2, START)
    spend(bucket, 1)
    bucket.learn(Reading(remaining=6), START, START)
    assert bucket.used(START) == 6


def test_a_sure_refusal_empties_the_bucket() -> None:
    bucket = full()
    bucket.take(3, START)
    bucket.refuse(START, is_sure=True)
    assert bucket.used(START) == 10
    bucket.refund(3)
    assert bucket.used(START) == 7
    assert bucket.used(START + 3.5) == 0


def test_a_refusal_in_doubt_changes_nothing() -> None:
    bucket = full()
    spend(bucket, 3)
    bucket.refuse(START, is_sure=False)
    assert bucket.used(START) == 3


@given(
    st.integers(1, 1_000),
    st.floats(1e-3, 1e3),
    st.lists(st.tuples(st.integers(1, 1_000), st.floats(0, 100)), max_size=30),
)
def test_a_bucket_of_calls_that_take_no_time_is_restored_exactly(
    permits: int, restore: float, calls: list[tuple[int, float]]
) -> None:
    bucket, level, now = full(permits, restore), 0.0, START
    for cost, wait in calls:
        later = now + wait
        level = max(0.0, level - (later - now) * restore)
        now = later
        assert bucket.used(now) == pytest.approx(level, abs=1 + 1e-6)
        if bucket.take(cost, now):
            bucket.settle(cost, cost, now, now)
            level += cost
            assert level <= permits + 1e-6
        else:
            assert level + cost > permits - 1e-6
