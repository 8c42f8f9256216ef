from __future__ import annotations

import math
from datetime import datetime
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model import quota as quota_module
from ratesync.model.quota import Budget, FixedWindow, Period
from ratesync.rules.calendar import budget_starts, starts_every, window_starts

HOUR, DAY = 3_600.0, 86_400.0
BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"


def at(wall_clock: str, zone: str = "UTC") -> float:
    """The instant at which clocks in the zone show that."""
    return datetime.fromisoformat(wall_clock).replace(tzinfo=ZoneInfo(zone)).timestamp()


def starts(quota: FixedWindow | Budget, since: float, number: int) -> list[float]:
    """The first starts after an instant."""
    next_start = window_starts(quota) if isinstance(quota, FixedWindow) else budget_starts(quota)
    found: list[float] = []
    for _ in range(number):
        since = next_start(since)
        found.append(since)
    return found


def test_a_minute_begins_with_the_minute() -> None:
    assert starts(FixedWindow(1, per=60), at("2024-05-05 10:20:30"), 2) == [
        at("2024-05-05 10:21"),
        at("2024-05-05 10:22"),
    ]


def test_the_start_after_a_start_is_the_next_one() -> None:
    assert starts(FixedWindow(1, per=60), at("2024-05-05 10:20"), 1) == [at("2024-05-05 10:21")]
    assert starts(Budget(1), at("2024-05-05"), 1) == [at("2024-05-06")]


def test_an_hour_begins_by_the_clock_of_its_zone() -> None:
    assert starts(FixedWindow(1, per=HOUR, zone=KOLKATA), at("2024-05-05 10:00"), 1) == [at("2024-05-05 10:30")]


def test_the_last_window_of_a_day_is_cut_short_where_they_do_not_divide_it() -> None:
    quota = FixedWindow(1, per=7 * HOUR)
    assert starts(quota, at("2024-05-05"), 5) == [
        at("2024-05-05 07:00"),
        at("2024-05-05 14:00"),
        at("2024-05-05 21:00"),
        at("2024-05-06 00:00"),
        at("2024-05-06 07:00"),
    ]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (BERLIN, "2024-03-31", 23),
        (BERLIN, "2024-10-27", 25),
        (BERLIN, "2024-06-01", 24),
        (NEW_YORK, "2024-03-10", 23),
        (NEW_YORK, "2024-11-03", 25),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone: str, day: str, hours: int) -> None:
    midnight = at(day, zone)
    end = midnight + hours * HOUR
    assert end == starts(Budget(1, zone=zone), midnight, 1)[0]
    assert end == starts(FixedWindow(1, per=DAY, zone=zone), end - 1, 1)[0]
    for now in (midnight + 1, midnight + 2.5 * HOUR, end - 1):
        assert starts(Budget(1, zone=zone), now, 1) == [end]
    assert starts(Budget(1, zone=zone), midnight - 1, 1) == [midnight]


@pytest.mark.parametrize(("day", "windows"), [("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-01", 24)])
def test_hours_last_an_hour_when_clocks_change(day: str, windows: int) -> None:
    midnight = at(day, BERLIN)
    quota = FixedWindow(1, per=HOUR, zone=BERLIN)
    assert starts(quota, midnight, windows) == [midnight + hour * HOUR for hour in range(1, windows + 1)]
    assert starts(Budget(1, zone=BERLIN), midnight, 1) == [midnight + windows * HOUR]


def test_a_window_of_a_day_begins_anew_an_hour_after_a_day_when_clocks_go_back() -> None:
    """Every 86,400 seconds after midnight, and at midnight: the hour that is left is a window of its own."""
    midnight = at("2024-10-27", BERLIN)
    assert starts(FixedWindow(1, per=DAY, zone=BERLIN), midnight, 2) == [midnight + DAY, midnight + 25 * HOUR]


def test_a_month_begins_on_its_first_day() -> None:
    quota = Budget(1, every=Period.MONTH)
    assert starts(quota, at("2023-12-15 12:00"), 4) == [at(f"2024-0{month}-01") for month in range(1, 5)]
    assert starts(quota, at("2023-12-31 23:59:59"), 1) == [at("2024-01-01")]


def test_a_month_with_a_change_of_the_clocks_ends_at_midnight() -> None:
    quota = Budget(1, every=Period.MONTH, zone=BERLIN)
    assert starts(quota, at("2024-03-05", BERLIN), 2) == [at("2024-04-01", BERLIN), at("2024-05-01", BERLIN)]


def test_a_day_may_begin_later_than_midnight() -> None:
    quota = Budget(1, zone=NEW_YORK, resets_at=7.5 * HOUR)
    assert starts(quota, at("2024-05-05 07:00", NEW_YORK), 2) == [
        at("2024-05-05 07:30", NEW_YORK),
        at("2024-05-06 07:30", NEW_YORK),
    ]
    assert starts(quota, at("2024-05-05 07:30", NEW_YORK), 1) == [at("2024-05-06 07:30", NEW_YORK)]
    assert starts(quota, at("2024-12-31 23:00", NEW_YORK), 1) == [at("2025-01-01 07:30", NEW_YORK)]


def test_a_month_may_begin_later_than_midnight() -> None:
    quota = Budget(1, every=Period.MONTH, resets_at=23 * HOUR)
    assert starts(quota, at("2024-05-01 22:59"), 1) == [at("2024-05-01 23:00")]
    assert starts(quota, at("2024-05-01 23:00"), 1) == [at("2024-06-01 23:00")]


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"])
def test_a_later_start_is_by_the_clock_on_the_wall(day: str) -> None:
    quota = Budget(1, zone=BERLIN, resets_at=6 * HOUR)
    assert starts(quota, at(day, BERLIN), 1) == [at(f"{day} 06:00", BERLIN)]


def test_utc_needs_no_time_zone_data() -> None:
    with mock.patch.object(quota_module, "ZoneInfo", side_effect=KeyError):
        assert starts(FixedWindow(1, per=60), 30.0, 1) == [60.0]
        assert starts(Budget(1), 30.0, 1) == [DAY]
        with pytest.raises(ValueError, match="zone: 'Europe/Berlin' is no time zone known here"):
            FixedWindow(1, per=60, zone=BERLIN)


INSTANT = st.floats(at("2020-01-01"), at("2030-01-01")) | st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001  bounds are naive
    datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([ZoneInfo(BERLIN), ZoneInfo(NEW_YORK)]),
).map(lambda instant: float(int(instant.timestamp())))
ZONE = st.sampled_from(["UTC", BERLIN, NEW_YORK, KOLKATA, "Australia/Lord_Howe", "America/Santiago"])
PER = st.sampled_from([0.1, 0.3, 1.0, 7.0, 60.0, 3_600.0, 25_000.0, DAY]) | st.floats(0.01, DAY)


@given(st.builds(FixedWindow, st.just(1), per=PER, zone=ZONE), INSTANT)
def test_the_next_window_begins_later_and_at_most_its_length_later(quota: FixedWindow, now: float) -> None:
    next_start = window_starts(quota)
    start = next_start(now)
    assert now < start <= now + quota.per + 1e-6
    assert next_start(start) > start
    if start > now + 1e-3:
        assert next_start(start - 1e-3) == pytest.approx(start, abs=1e-6)


@given(
    st.builds(Budget, st.just(1), every=st.sampled_from(Period), zone=ZONE, resets_at=st.integers(0, 86_399)), INSTANT
)
def test_the_next_day_or_month_begins_later_by_no_more_than_one(quota: Budget, now: float) -> None:
    next_start = budget_starts(quota)
    start = next_start(now)
    longest = 25 * HOUR if quota.every is Period.DAY else 31 * DAY + HOUR
    assert now < start <= now + longest + HOUR
    assert next_start(math.nextafter(start, 0)) == start
    assert next_start(start) > start


@given(PER, st.floats(-1e3, 1e3), INSTANT)
def test_one_start_tells_all_others(per: float, phase: float, now: float) -> None:
    one_start = now + phase * per
    start = starts_every(per, one_start)(now)
    assert now < start <= now + per + 1e-6
    periods = (start - one_start) / per
    assert periods == pytest.approx(round(periods), abs=1e-3)
