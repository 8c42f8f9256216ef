from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.retry_after import MAX_RETRY_AFTER, parse_retry_after

NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC).timestamp()

instants = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda at: at.replace(microsecond=0)
)
deltas = st.integers(0, int(MAX_RETRY_AFTER))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("+7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("-0.5", 0.0),
        ("1e9", MAX_RETRY_AFTER),
        ("1e999", MAX_RETRY_AFTER),
        ("1000000000", MAX_RETRY_AFTER),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun Nov  6 08:49:37 1994 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:49:37", 37.0),
        ("06 Nov 1994 08:49:37 UTC", 37.0),
        ("sun, 06 nov 1994 08:49:37 gmt", 37.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 37.0),
        ("Sun, 06 Nov 1994 07:19:37 -0130", 37.0),
        ("Sun, 06 Nov 1994 20:19:37 +1130", 37.0),
        ("9" * 64, MAX_RETRY_AFTER),
        ("Sat, 31 Dec 1994 23:59:60 GMT", MAX_RETRY_AFTER),
        ("Sun, 06 Nov 1994 08:48:60 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
    ],
)
def test_case_43_seconds_and_dates_are_read_and_clamped(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        "inf",
        "-inf",
        "nan",
        "soon",
        "12 seconds",
        "1_000",
        "１２",
        "0x10",
        "60, 120",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "9" * 65,
        "9" * 5000,
    ],
)
def test_case_43_garbage_says_nothing(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


@given(instants, deltas)
def test_all_three_forms_of_a_date_say_the_same(now: datetime, seconds: int) -> None:
    at = now + timedelta(seconds=seconds)
    forms = [
        format_datetime(at, usegmt=True),
        f"{at:%A, %d-%b-%y %H:%M:%S} GMT",
        f"{at:%a %b} {at.day:2} {at:%H:%M:%S %Y}",
    ]
    assert [parse_retry_after(form, now.timestamp()) for form in forms] == [float(seconds)] * len(forms)


@given(instants, st.integers(-1, 50))
def test_a_year_of_two_digits_is_the_nearest_at_most_fifty_ahead(now: datetime, years: int) -> None:
    value = f"Sunday, 01-Mar-{(now.year + years) % 100:02} 00:00:00 GMT"
    wait = parse_retry_after(value, now.timestamp())
    assert wait is not None
    assert (wait == MAX_RETRY_AFTER) if years > 1 else (wait == 0.0) if years < 0 else (0 <= wait <= MAX_RETRY_AFTER)


def test_a_year_of_two_digits_more_than_fifty_ahead_is_past() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert parse_retry_after("Sunday, 06-Nov-76 08:49:37 GMT", now) == MAX_RETRY_AFTER
    assert parse_retry_after("Sunday, 06-Nov-77 08:49:37 GMT", now) == 0.0


def test_the_longest_wait_is_a_day() -> None:
    assert parse_retry_after("86401", NOW) == MAX_RETRY_AFTER == 24 * 60 * 60


@given(st.floats(0, MAX_RETRY_AFTER))
def test_seconds_are_read_exactly(seconds: float) -> None:
    assert parse_retry_after(repr(seconds), NOW) == seconds


dates = st.from_regex(r"(Sun, )?\d{1,2}[ -](Nov|Feb|Xyz)[ -]\d{2,4} \d\d:\d\d:\d\d( (GMT|[+-]\d{4}))?", fullmatch=True)


@given(st.one_of(st.text(), st.from_regex(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?"), dates), st.floats(0, 4e9))
def test_case_43_no_value_raises_and_none_leaves_the_bounds(value: str, now: float) -> None:
    seconds = parse_retry_after(value, now)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER
