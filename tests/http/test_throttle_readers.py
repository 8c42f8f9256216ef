"""The samples are those of the pages named beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.http import (
    Headers,
    Response,
    ThrottleReader,
    github_throttle,
    hubspot_throttle,
    read_answer,
    salesforce_throttle,
    shopify_throttle,
    stripe_throttle,
)
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, RetryLater

NOON = 784_900_800.0  # Tue, 15 Nov 1994 12:00:00 GMT
READERS = [github_throttle, hubspot_throttle, salesforce_throttle, shopify_throttle, stripe_throttle]


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    fields = {"content-type": "application/json"} | dict(headers or {})
    return Response(
        status,
        Headers((name.encode(), value.encode()) for name, value in fields.items()),
        b"" if body is None else json.dumps(body).encode(),
    )


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        # developers.hubspot.com/docs/guides/apps/api-usage/usage-details, "Error responses"
        (
            429,
            {
                "status": "error",
                "message": "You have reached your daily limit.",
                "errorType": "RATE_LIMIT",
                "policyName": "DAILY",
            },
            ThrottleCause.BUDGET,
        ),
        (429, {"policyName": "TEN_SECONDLY_ROLLING"}, ThrottleCause.RATE),
        (429, {"policyName": "SECONDLY"}, ThrottleCause.RATE),
        (429, {"message": "You have reached your ten_secondly_rolling limit."}, ThrottleCause.RATE),
        (429, {"message": "You have reached your secondly limit."}, ThrottleCause.RATE),
        (429, {"message": "Slow down."}, None),
        (429, {"policyName": "WEEKLY"}, None),
        (429, {"policyName": 7, "message": None}, None),
        (429, None, None),
        (400, {"policyName": "DAILY"}, None),
    ],
)
def test_hubspot_names_its_policy(status: int, body: Any, cause: ThrottleCause | None) -> None:
    assert hubspot_throttle(answer(status, body)) == (None if cause is None else Feedback(cause=cause))


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        # developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
        (
            403,
            [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}],
            ThrottleCause.BUDGET,
        ),
        (
            403,
            [
                {
                    "message": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
                    "errorCode": "REQUEST_LIMIT_EXCEEDED",
                }
            ],
            ThrottleCause.CONCURRENCY,
        ),
        (503, {"errorCode": "REQUEST_LIMIT_EXCEEDED"}, ThrottleCause.BUDGET),
        (403, [{"message": "no", "errorCode": "INSUFFICIENT_ACCESS"}, "odd", None], None),
        (403, None, None),
        (200, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], None),
    ],
)
def test_salesforce_refuses_with_a_code(status: int, body: Any, cause: ThrottleCause | None) -> None:
    assert salesforce_throttle(answer(status, body)) == (None if cause is None else Feedback(cause=cause))


def cost(available: float, *, requested: float = 92, actual: float | None = 41, restore: float = 100.0) -> Any:
    """shopify.dev/docs/api/usage/limits, "Rate limits of the GraphQL Admin API"."""
    return {
        "cost": {
            "requestedQueryCost": requested,
            "actualQueryCost": actual,
            "throttleStatus": {"maximumAvailable": 1000.0, "currentlyAvailable": available, "restoreRate": restore},
        }
    }


THROTTLED = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]


def test_shopify_tells_the_points_that_a_query_was_charged() -> None:
    reading = Reading(limit=1000, remaining=959)
    feedback = Feedback(readings=(reading,), charged={"points": 41})
    assert shopify_throttle(answer(200, {"data": {}, "extensions": cost(959)})) == feedback
    assert shopify_throttle(answer(200, {"extensions": cost(959, actual=None)})) == Feedback(readings=(reading,))


@pytest.mark.parametrize(
    ("available", "restore", "wait"), [(42, 100.0, 0.5), (92, 50.0, 0.0), (42, 0.0, None), (-1, 100.0, None)]
)
def test_shopify_throttles_with_200(available: float, restore: float, wait: float | None) -> None:
    body = {"errors": THROTTLED, "extensions": cost(available, actual=None, restore=restore)}
    outcome, feedback = read_answer(answer(200, body), Kind.UPDATE, now=NOON, throttle=shopify_throttle)
    assert outcome == RetryLater("HTTP 200 OK: Throttled", Cause.THROTTLED, wait)
    assert (feedback.cause, feedback.charged) == (ThrottleCause.RATE, {})


@pytest.mark.parametrize(
    "response",
    [
        answer(200, {"data": {}, "errors": [{"extensions": {"code": "MAX_COST_EXCEEDED"}}, 7]}),
        answer(200, {"extensions": {"cost": {"actualQueryCost": True, "throttleStatus": []}}}),
        answer(200, []),
        answer(200),
        answer(429, {"errors": THROTTLED}),
    ],
)
def test_shopify_tells_nothing_otherwise(response: Response) -> None:
    assert shopify_throttle(response) is None


def test_stripe_does_not_throttle_by_a_lock() -> None:
    """docs.stripe.com/rate-limits, "Object lock timeouts"."""
    lock = answer(429, {"error": {"code": "lock_timeout", "message": "This object cannot be accessed right now"}})
    outcome, feedback = read_answer(lock, Kind.UPDATE, now=NOON, throttle=stripe_throttle)
    assert isinstance(outcome, RetryLater)
    assert (outcome.cause, feedback) == (Cause.UNAVAILABLE, NO_FEEDBACK)


def test_stripe_throttles_for_the_reason_in_its_header() -> None:
    body = {"error": {"code": "rate_limit", "message": "Too many requests"}}
    limited = answer(429, body, {"stripe-rate-limited-reason": "endpoint-concurrency"})
    outcome, feedback = read_answer(limited, Kind.UPDATE, now=NOON, throttle=stripe_throttle)
    assert isinstance(outcome, RetryLater)
    assert (outcome.cause, feedback.cause) == (Cause.THROTTLED, ThrottleCause.CONCURRENCY)
    assert stripe_throttle(answer(400, {"error": {"code": "lock_timeout"}})) is None


# docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
USED_UP = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOON + 600:.0f}"}


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (answer(403, {"message": "API rate limit exceeded"}, USED_UP), ThrottleCause.RATE),
        (answer(429, None, USED_UP), ThrottleCause.RATE),
        (answer(403, SECONDARY), ThrottleCause.OVERLOAD),
        (answer(403, None, {"retry-after": "60"}), ThrottleCause.OVERLOAD),
        (answer(429), ThrottleCause.OVERLOAD),
        (answer(200, {"errors": [{"type": "RATE_LIMITED"}]}, USED_UP), ThrottleCause.RATE),
        (answer(200, {"errors": [{"type": "NOT_FOUND"}]}, USED_UP), None),
        (answer(200, {"errors": [{"type": "RATE_LIMITED"}]}), None),
        (answer(403, {"message": "Resource not accessible"}, {"x-ratelimit-remaining": "4999"}), None),
        (answer(404, SECONDARY), None),
    ],
)
def test_github_limits_with_403_too(response: Response, cause: ThrottleCause | None) -> None:
    assert github_throttle(response) == (None if cause is None else Feedback(cause=cause))


def test_github_s_hour_is_waited_for() -> None:
    outcome, feedback = read_answer(answer(403, None, USED_UP), Kind.READ, now=NOON, throttle=github_throttle)
    assert outcome == RetryLater("HTTP 403 Forbidden", Cause.THROTTLED, 600.0)
    assert feedback.readings == (Reading(limit=5000, remaining=0, reset_after=600.0),)


@pytest.mark.parametrize("throttle", READERS)
def test_a_plain_success_is_one(throttle: ThrottleReader) -> None:
    assert read_answer(answer(200, {"id": 1}), Kind.READ, now=NOON, throttle=throttle) == (Applied(), NO_FEEDBACK)


words = st.sampled_from(
    [
        "errors",
        "error",
        "extensions",
        "cost",
        "code",
        "message",
        "policyName",
        "errorCode",
        "throttleStatus",
        "type",
        "actualQueryCost",
        "currentlyAvailable",
        "maximumAvailable",
        "restoreRate",
        "requestedQueryCost",
    ]
)
values = st.sampled_from(["THROTTLED", "REQUEST_LIMIT_EXCEEDED", "lock_timeout", "DAILY", "RATE_LIMITED"])
bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | values | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(words, children, max_size=6),
    max_leaves=15,
)


@given(bodies, st.sampled_from([200, 403, 429, 500]), st.sampled_from(READERS))
def test_no_body_makes_a_reader_raise(body: Any, status: int, throttle: ThrottleReader) -> None:
    feedback = throttle(answer(status, body))
    assert feedback is None or feedback.hold_for is None or feedback.hold_for >= 0


@given(st.binary(), st.sampled_from([200, 403, 429, 500]), st.sampled_from(READERS))
def test_what_is_no_json_tells_nothing_of_itself(body: bytes, status: int, throttle: ThrottleReader) -> None:
    throttle(Response(status, Headers(), body))
