"""Feeds ordered by time: nothing is skipped, however coarse the clock and however late a change is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import CursorExpired
from ratesync.rules.time_cursor import TimeCursor

START = datetime(2026, 1, 1, tzinfo=UTC)
LAG = 5
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@frozen
class Written:
    """A change: its instant, and how much later it shows."""

    record_id: str
    at: int
    shown_after: int


def pull(feed: list[Written], text: str | None, now: int, size: int) -> tuple[list[Written], str, bool]:
    """One page of a provider that shows at ``now`` what is committed by then."""
    cursor = TimeCursor.read(text, START + timedelta(seconds=now))
    shown = sorted((each for each in feed if each.at + each.shown_after <= now), key=lambda e: (e.at, e.record_id))
    behind = [
        each
        for each in shown
        if (instant := START + timedelta(seconds=each.at)) > cursor.since
        or (instant == cursor.since and (cursor.after_id is None or each.record_id > cursor.after_id))
    ]
    page = behind[:size]
    if len(behind) > size:
        return page, cursor.behind(START + timedelta(seconds=page[-1].at), page[-1].record_id), True
    return page, cursor.next_pass(LAG), False


feeds = st.lists(
    st.builds(Written, st.sampled_from("abcdefgh"), st.integers(0, 30), st.integers(0, LAG)),
    max_size=30,
    unique_by=lambda each: (each.at, each.record_id),
)


@given(feeds, st.integers(1, 4), st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_every_change_is_met_whenever_pages_are_pulled(feed: list[Written], size: int, instants: list[int]) -> None:
    text: str | None = None
    met: set[Written] = set()
    for now in [*sorted(instants), *[70] * 40]:
        page, text, _ = pull(feed, text, now, size)
        met |= set(page)
    assert met == set(feed)


def test_what_shows_late_is_met_though_a_page_went_past_it() -> None:
    early, late, last = Written("a", 18, 0), Written("b", 17, 5), Written("c", 19, 0)
    _, text, more = pull([early, late, last], None, 20, 1)
    assert more
    page, text, more = pull([early, late, last], text, 20, 1)
    assert (page, more) == ([last], False)
    page, _, _ = pull([early, late, last], text, 30, 10)
    assert late in page


@given(feeds, st.integers(1, 4))
def test_a_pass_ends_and_the_next_one_meets_only_the_lag(feed: list[Written], size: int) -> None:
    text: str | None = None
    more = True
    for _ in range(len(feed) // size + 1):
        _, text, more = pull(feed, text, 100, size)
    assert not more
    page, _, more = pull(feed, text, 100, size)
    assert (page, more) == ([], False)


def test_a_page_that_does_not_move_on_is_told() -> None:
    cursor = TimeCursor.read(TimeCursor(START, "b", START).written(), START)
    with pytest.raises(ValueError, match="does not lie behind"):
        cursor.behind(START, "b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17",
        "[]",
        "{}",
        '["2026-01-01", null, null]',
        '["2026-01-01T00:00:00Z", 5, null]',
        "[1, null, null]",
        '["2026-01-01T00:00:00Z", null, "2026-01-01T00:00:00Z", 1]',
    ],
)
def test_a_text_that_is_no_position_asks_for_a_new_listing(text: str) -> None:
    with pytest.raises(CursorExpired, match="list all records anew"):
        TimeCursor.read(text, START)


def test_a_position_is_old_where_something_behind_it_may_be_shown_no_longer() -> None:
    first = TimeCursor.read(None, START)
    under_way = TimeCursor.read(first.behind(START - DAY * 900, "a"), START)
    assert not first.is_older_than(1.0, START + DAY)
    assert not under_way.is_older_than(1.0, START + DAY), "the first pass meets what is there"
    begins = TimeCursor.read(first.next_pass(0.0), START + DAY)
    assert not begins.is_older_than(DAY.total_seconds(), START + DAY)
    assert begins.is_older_than(DAY.total_seconds(), START + DAY + SECOND)
    page = TimeCursor.read(begins.behind(START + DAY, "a"), START)
    assert not page.is_older_than(DAY.total_seconds(), START + DAY * 2)
    assert page.is_older_than(DAY.total_seconds(), START + DAY * 2 + SECOND), "a pass may be left lying, too"


def test_a_position_that_was_written_before_it_knew_where_its_pass_began_goes_on() -> None:
    text = json.dumps([START.isoformat(), "a", START.isoformat()])
    cursor = TimeCursor.read(text, START)
    assert (cursor.since, cursor.after_id, cursor.began_at) == (START, "a", START)
    assert not cursor.is_older_than(1.0, START + DAY)
