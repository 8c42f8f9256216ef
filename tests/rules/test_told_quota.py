from __future__ import annotations

import pytest

from ratesync.model.feedback import Reading
from ratesync.rules.told_quota import MOST_READINGS, make_reading, merge_readings, replace_readings


@pytest.mark.parametrize(
    ("limit", "remaining", "reading"),
    [
        (100, 99, Reading(limit=100, remaining=99)),
        (100, None, Reading(limit=100)),
        (None, 99, Reading(remaining=99)),
        (100, -3, Reading(limit=100, remaining=0)),
        (100, 101, Reading(limit=100, remaining=100)),
        (None, None, None),
        (None, -1, None),
        (0, 0, None),
        (-1, -1, None),
    ],
)
def test_numbers_that_make_no_sense_are_no_reading(
    limit: int | None, remaining: int | None, reading: Reading | None
) -> None:
    assert make_reading(limit=limit, remaining=remaining) == reading


def test_a_window_of_no_length_is_none() -> None:
    assert make_reading(limit=1, per=0) == make_reading(limit=1, per=-1) == Reading(limit=1)


def test_one_quota_told_in_two_dialects_is_one_reading() -> None:
    window = Reading(limit=5, remaining=0, per=60.0)
    reset = Reading(limit=5, remaining=0, reset_after=44.0)
    both = Reading(limit=5, remaining=0, reset_after=44.0, per=60.0)
    assert merge_readings([window, None, reset]) == merge_readings([reset, window]) == (both,)


def test_equal_numbers_of_two_windows_are_two_quotas() -> None:
    readings = (Reading(limit=5, remaining=5, per=1.0), Reading(limit=5, remaining=5, per=60.0))
    assert merge_readings(readings) == readings


def test_there_is_an_end_to_readings() -> None:
    many = [Reading(limit=number) for number in range(1, 100)]
    assert len(merge_readings(many)) == MOST_READINGS
    assert len(replace_readings(many, many)) == MOST_READINGS


def test_of_one_quota_the_later_reading_counts() -> None:
    hour = Reading(limit=5000, remaining=1, per=3600.0)
    before, after = Reading(limit=100, remaining=99, per=10.0), Reading(limit=100, remaining=98, per=10.0)
    assert replace_readings((before, hour), (after,)) == (after, hour)
