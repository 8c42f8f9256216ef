from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from ratesync.http import Headers, Response, ThrottleReader, read_answer, read_outcome
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.model.operation import Kind
from ratesync.model.outcome import NO_SUCH_PAGE, Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown

NOON = 784_900_800.0  # Tue, 15 Nov 1994 12:00:00 GMT


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Response(status, Headers(fields), body)


def test_the_etag_is_the_version() -> None:
    assert read_outcome(answer(200, {"ETag": 'W/"7"'}), Kind.UPDATE, now=NOON) == Applied(version='W/"7"')
    assert read_outcome(answer(204), Kind.UPDATE, now=NOON) == Applied()


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (304, Kind.READ, Applied()),
        (404, Kind.DELETE, Applied()),
        (412, Kind.UPDATE, Conflict("HTTP 412 Precondition Failed")),
        (429, Kind.CREATE, RetryLater("HTTP 429 Too Many Requests", Cause.THROTTLED)),
        (503, Kind.CREATE, RetryLater("HTTP 503 Service Unavailable", Cause.UNAVAILABLE)),
        (401, Kind.CREATE, RetryLater("HTTP 401 Unauthorized", Cause.UNAUTHORISED)),
        (500, Kind.CREATE, Unknown("HTTP 500 Internal Server Error")),
        (404, Kind.READ, Rejected("HTTP 404 Not Found", code="404")),
        (307, Kind.READ, Rejected("HTTP 307 Temporary Redirect", code="307")),
    ],
)
def test_failures_carry_the_status_in_words(status: int, kind: Kind, outcome: Outcome) -> None:
    assert read_outcome(answer(status), kind, now=NOON) == outcome


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", [404, 410])
def test_a_page_of_html_where_there_is_nothing_says_nothing_of_a_record(kind: Kind, status: int) -> None:
    response = answer(status, {"Content-Type": "Text/HTML; charset=utf-8"}, b'{"code": "404"}')
    outcome = read_outcome(response, kind, now=NOON)
    assert isinstance(outcome, Rejected)
    assert outcome.code == NO_SUCH_PAGE


def test_a_rejection_has_the_provider_s_own_code() -> None:
    body = json.dumps({"code": "DUPLICATE", "message": "exists: key-12345678"}).encode()
    response = answer(400, {"content-type": "application/json"}, body)
    outcome = read_outcome(response, Kind.CREATE, now=NOON, secrets=["key-12345678"])
    assert outcome == Rejected("HTTP 400 Bad Request: exists: ***", code="DUPLICATE")


@pytest.mark.parametrize(
    ("headers", "retry_after"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "Tue, 15 Nov 1994 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 15 Nov 1994 12:00:30 GMT", "date": "Tue, 15 Nov 1994 11:59:00 GMT"}, 90.0),
        ({"retry-after": "Tue, 15 Nov 1994 12:00:30 GMT", "date": "yesterday"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_case_62_a_date_to_wait_for_counts_from_the_provider_s_own_clock(
    headers: dict[str, str], retry_after: float | None
) -> None:
    outcome = read_outcome(answer(429, headers), Kind.READ, now=NOON)
    assert isinstance(outcome, RetryLater)
    assert outcome.retry_after == retry_after


def saying(feedback: Feedback | None) -> ThrottleReader:
    return lambda _: feedback


RATE = Feedback(cause=ThrottleCause.RATE)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 500])
def test_what_a_reader_calls_throttled_is_retried_whatever_the_status(status: int) -> None:
    response = answer(status, {"retry-after": "7", "content-type": "application/json"}, b'{"message": "slow down"}')
    outcome, feedback = read_answer(response, Kind.UPDATE, now=NOON, throttle=saying(RATE))
    assert isinstance(outcome, RetryLater)
    assert (outcome.cause, outcome.retry_after) == (Cause.THROTTLED, 7.0)
    assert outcome.reason.endswith("slow down")
    assert feedback == RATE


@pytest.mark.parametrize("status", [429, 529])
def test_what_a_reader_calls_not_throttled_is_retried_plainly(status: int) -> None:
    outcome, feedback = read_answer(answer(status), Kind.UPDATE, now=NOON, throttle=saying(NO_FEEDBACK))
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.UNAVAILABLE
    assert feedback.cause is None


@pytest.mark.parametrize("seen", [None, NO_FEEDBACK])
@pytest.mark.parametrize("status", [200, 403, 404, 409, 503])
def test_a_reader_that_saw_no_throttling_changes_nothing(status: int, seen: Feedback | None) -> None:
    response = answer(status, {"etag": "1"})
    with_reader = read_outcome(response, Kind.UPDATE, now=NOON, throttle=saying(seen))
    assert with_reader == read_outcome(response, Kind.UPDATE, now=NOON)


@pytest.mark.parametrize(
    ("status", "headers", "seen", "retry_after"),
    [
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, None, 20.0),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20", "retry-after": "3"}, None, 3.0),
        (429, {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "20"}, None, None),
        (429, {"backoff": "9"}, None, 9.0),
        (503, {"backoff": "9"}, None, 9.0),
        (503, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, None, None),
        (401, {"backoff": "9"}, None, None),
        (200, {}, Feedback(cause=ThrottleCause.RATE, hold_for=4.0), 4.0),
    ],
)
def test_without_retry_after_the_wait_follows_from_what_the_quotas_tell(
    status: int, headers: dict[str, str], seen: Feedback | None, retry_after: float | None
) -> None:
    outcome = read_outcome(answer(status, headers), Kind.UPDATE, now=NOON, throttle=saying(seen))
    assert isinstance(outcome, RetryLater)
    assert outcome.retry_after == retry_after


def test_an_answer_comes_with_its_feedback() -> None:
    response = answer(200, {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99"})
    reading = Reading(limit=100, remaining=99)
    assert read_answer(response, Kind.UPDATE, now=NOON) == (Applied(), Feedback(readings=(reading,)))
