from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.http import Headers, Response, read_feedback
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause

NOON = 784_900_800.0  # Tue, 15 Nov 1994 12:00:00 GMT


def answer(status: int, headers: Mapping[str, str]) -> Response:
    return Response(status, Headers((name.encode(), value.encode()) for name, value in headers.items()))


def test_headers_tell_of_quotas_in_any_case() -> None:
    response = answer(200, {"X-RateLimit-Limit": "100", "x-ratelimit-remaining": "99", "X-RATELIMIT-RESET": "30"})
    assert read_feedback(response, NOON).readings == (Reading(limit=100, remaining=99, reset_after=30.0),)


@pytest.mark.parametrize(
    ("date", "reset_after"),
    [
        ("Tue, 15 Nov 1994 12:00:00 GMT", 30.0),
        ("Tue, 15 Nov 1994 11:59:00 GMT", 90.0),
        ("yesterday", 30.0),
        ("Tue, 15 Nov 9999 25:00:00 GMT", 30.0),
        (None, 30.0),
    ],
)
def test_a_reset_at_an_instant_counts_from_the_provider_s_own_clock(date: str | None, reset_after: float) -> None:
    headers = {"x-ratelimit-remaining": "9", "x-ratelimit-reset": f"{NOON + 30:.0f}"}
    response = answer(200, headers if date is None else headers | {"date": date})
    assert read_feedback(response, NOON).readings == (Reading(remaining=9, reset_after=reset_after),)


def test_a_reader_adds_to_the_headers_and_knows_the_cause_better() -> None:
    response = answer(429, {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "0"})
    reading = Reading(limit=40, remaining=0)
    assert read_feedback(response, NOON).cause is ThrottleCause.RATE
    assert read_feedback(response, NOON, lambda _: None).cause is ThrottleCause.RATE
    assert read_feedback(response, NOON, lambda _: NO_FEEDBACK) == Feedback(readings=(reading,))
    seen = Feedback(readings=(Reading(limit=9),), charged={"points": 3}, cause=ThrottleCause.BUDGET)
    assert read_feedback(response, NOON, lambda _: seen) == Feedback(
        readings=(reading, Reading(limit=9)), charged={"points": 3}, cause=ThrottleCause.BUDGET
    )


@given(st.dictionaries(st.binary(max_size=20), st.binary(), max_size=5), st.integers(100, 599), st.floats(0, 4e9))
def test_nothing_raises(fields: dict[bytes, bytes], status: int, now: float) -> None:
    read_feedback(Response(status, Headers(fields.items())), now)
