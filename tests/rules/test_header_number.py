from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.header_number import MAX_RESET_AFTER, parse_count, parse_reset

NOW = datetime(2026, 1, 15, 10, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), (" 40 ", 40), ("59.9", 59), ("-1", -1), ("+7", 7), ("1000.0", 1000)],
)
def test_counts_are_whole_numbers(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", [None, "", "unlimited", "1e3", "1_000", "1,000", "１２", ".5", "9" * 21, "nan"])
def test_what_is_no_number_counts_nothing(text: str | None) -> None:
    assert parse_count(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "30",
        "30.0",
        f"{NOW + 30:.0f}",
        f"{NOW + 30:.3f}",
        f"{(NOW + 30) * 1_000:.0f}",
        f"{(NOW + 30) * 1_000_000:.0f}",
        f"{(NOW + 30) * 1_000_000_000:.0f}",
        "2026-01-15T10:00:30Z",
        "2026-01-15T11:00:30+01:00",
        "2026-01-15 10:00:30",
        "Thu, 15 Jan 2026 10:00:30 GMT",
    ],
)
def test_a_reset_is_read_in_every_form(text: str) -> None:
    assert parse_reset(text, NOW) == pytest.approx(30, abs=1e-3)


@pytest.mark.parametrize(
    "text", ["0", "-5", f"{NOW - 30:.0f}", "2026-01-15T09:00:00Z", "Thu, 15 Jan 2026 09:00:00 GMT"]
)
def test_a_reset_that_has_passed_is_now(text: str) -> None:
    assert parse_reset(text, NOW) == 0.0


@pytest.mark.parametrize(
    "text",
    [None, "", "soon", "1m30s", f"{MAX_RESET_AFTER + 1:.0f}", "2027-01-15", "Thu, 15 Jan 2099 10:00:30 GMT", "9" * 65],
)
def test_what_is_no_moment_or_too_far_away_says_nothing(text: str | None) -> None:
    assert parse_reset(text, NOW) is None


forms = st.one_of(
    st.text(),
    st.from_regex(r"[+-]?\d+(\.\d*)?", fullmatch=True),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
)


@given(forms, st.floats(0, 4e9))
def test_nothing_raises_and_no_reset_leaves_the_bounds(text: str, now: float) -> None:
    seconds = parse_reset(text, now)
    assert seconds is None or 0.0 <= seconds <= MAX_RESET_AFTER
    assert parse_count(text) is None or isinstance(parse_count(text), int)
