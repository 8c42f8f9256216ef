"""The samples are those of the pages named beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.rules.feedback import join_feedback, read_headers, wait_told
from ratesync.rules.header_number import MAX_RESET_AFTER
from ratesync.rules.retry_after import MAX_RETRY_AFTER

NOW = 1_768_471_200.0  # 2026-01-15T10:00:00Z
DAY = 86_400.0


@pytest.mark.parametrize(
    ("headers", "reading"),
    [
        # developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm
        ({"Sforce-Limit-Info": "api-usage=10018/100000"}, Reading(limit=100_000, remaining=89_982, per=DAY)),
        (
            {"Sforce-Limit-Info": "api-usage=10018/100000; api-bursts=1/750"},
            Reading(limit=100_000, remaining=89_982, per=DAY),
        ),
        (
            {"Sforce-Limit-Info": "per-app-api-usage=17/250(appName=sample), api-usage=25/5000"},
            Reading(limit=5000, remaining=4975, per=DAY),
        ),
        # shopify.dev/docs/api/admin-rest/usage/rate-limits
        ({"X-Shopify-Shop-Api-Call-Limit": "32/40"}, Reading(limit=40, remaining=8)),
        # developers.gorgias.com/reference/limitations
        ({"X-Gorgias-Account-Api-Call-Limit": "80/80"}, Reading(limit=80, remaining=0)),
    ],
)
def test_what_is_used_and_what_is_the_most(headers: dict[str, str], reading: Reading) -> None:
    assert read_headers(headers, 200, NOW) == Feedback(readings=(reading,))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json", "limit": "5"},
        {"Sforce-Limit-Info": "api-usage=many/100000"},
        {"Sforce-Limit-Info": "api-bursts=1/750"},
        {"X-Shopify-Shop-Api-Call-Limit": "32 of 40"},
        {"X-Shopify-Shop-Api-Call-Limit": "0/0"},
        {"Backoff": "soon"},
        {"Backoff": "0"},
        {"x-" * 100 + "ratelimit-limit": "5"},
    ],
)
def test_nothing_told_is_no_feedback(headers: dict[str, str]) -> None:
    assert read_headers(headers, 200, NOW) == NO_FEEDBACK


def test_one_quota_in_two_dialects_is_one_reading() -> None:
    """As sent by Kong 2 and 3 (developer.konghq.com/plugins/rate-limiting)."""
    headers = {
        "X-RateLimit-Limit-Minute": "5",
        "X-RateLimit-Remaining-Minute": "0",
        "RateLimit-Limit": "5",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "44",
        "Retry-After": "44",
    }
    reading = Reading(limit=5, remaining=0, reset_after=44.0, per=60.0)
    assert read_headers(headers, 429, NOW) == Feedback(readings=(reading,), cause=ThrottleCause.RATE)


@pytest.mark.parametrize("status", [200, 304, 412, 503])
def test_kinto_asks_to_be_left_alone_although_it_answers(status: int) -> None:
    """docs.kinto-storage.org/en/stable/api/1.x/backoff.html."""
    assert read_headers({"Backoff": "30"}, status, NOW) == Feedback(hold_for=30.0)


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        # docs.stripe.com/rate-limits
        (429, {"Stripe-Rate-Limited-Reason": "global-rate"}, ThrottleCause.RATE),
        (429, {"Stripe-Rate-Limited-Reason": "endpoint-rate"}, ThrottleCause.RATE),
        (429, {"Stripe-Rate-Limited-Reason": "resource-specific"}, ThrottleCause.RATE),
        (429, {"Stripe-Rate-Limited-Reason": "global-concurrency"}, ThrottleCause.CONCURRENCY),
        (429, {"Stripe-Rate-Limited-Reason": "endpoint-concurrency"}, ThrottleCause.CONCURRENCY),
        (429, {"Stripe-Rate-Limited-Reason": "something-new"}, None),
        (400, {"Stripe-Rate-Limited-Reason": "global-rate"}, None),
        # Notion, Airtable: 529 and nothing else
        (529, {}, ThrottleCause.OVERLOAD),
        (529, {"x-ratelimit-remaining": "0"}, ThrottleCause.OVERLOAD),
        (429, {}, None),
        (429, {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "3"}, None),
        (429, {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "0"}, ThrottleCause.RATE),
        (429, {"x-daily-ratelimit-token-remaining": "0", "x-ratelimit-remaining": "9"}, ThrottleCause.BUDGET),
        (200, {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "0"}, None),
    ],
)
def test_the_cause_is_told_where_it_is_sure(status: int, headers: dict[str, str], cause: ThrottleCause | None) -> None:
    assert read_headers(headers, status, NOW).cause is cause


@pytest.mark.parametrize(
    ("feedback", "wait"),
    [
        (NO_FEEDBACK, None),
        (Feedback(hold_for=5.0, readings=(Reading(remaining=0, reset_after=9.0),)), 5.0),
        (Feedback(readings=(Reading(remaining=0, reset_after=9.0), Reading(remaining=0, reset_after=3.0))), 9.0),
        (Feedback(readings=(Reading(remaining=1, reset_after=9.0), Reading(remaining=0))), None),
    ],
)
def test_a_quota_that_is_used_up_tells_how_long_to_wait(feedback: Feedback, wait: float | None) -> None:
    assert wait_told(feedback) == wait


def test_feedback_of_two_answers_is_the_newest_of_each_quota_and_the_sum_of_charges() -> None:
    rate = ThrottleCause.RATE
    first = Feedback(
        readings=(Reading(limit=9, remaining=8),), charged={"points": 3, "bytes": 0}, cause=rate, hold_for=2
    )
    second = Feedback(readings=(Reading(limit=9, remaining=7),), charged={"points": 4}, hold_for=1)
    assert join_feedback(first, second) == Feedback(
        readings=(Reading(limit=9, remaining=7),), charged={"points": 7, "bytes": 0}, cause=rate, hold_for=2
    )
    assert join_feedback(NO_FEEDBACK, first) == join_feedback(first, NO_FEEDBACK) == first


numbers = st.one_of(
    st.integers(-5, 10**6).map(str),
    st.integers(0, 10**25).map(str),
    st.floats().map(str),
    st.from_regex(r'"?[a-z]{0,3}"?;[qrtw]=-?\d{1,9}(, ?\d+;w=\d+)?', fullmatch=True),
    st.from_regex(r"(api-usage|limit|remaining|reset)=\d+(/\d+)?", fullmatch=True),
    st.text(st.sampled_from('",;=/0123456789 -.')),
    st.text(),
)
names = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "X-", "x-hubspot-", "x-daily-"]),
            st.sampled_from(["RateLimit", "rate-limit"]),
            st.sampled_from(["", "-Limit", "-Remaining", "-Reset", "-Policy", "-used", "-interval-milliseconds"]),
            st.sampled_from(["", "-minute", "-day"]),
        ),
    ),
    st.sampled_from(["sforce-limit-info", "x-shopify-shop-api-call-limit", "backoff", "stripe-rate-limited-reason"]),
    st.text(),
)


@given(st.dictionaries(names, numbers, max_size=12), st.sampled_from([200, 403, 429, 503, 529]), st.floats(0, 4e9))
def test_nothing_raises_and_all_numbers_are_in_range(headers: dict[str, str], status: int, now: float) -> None:
    feedback = read_headers(headers, status, now)
    assert feedback.hold_for is None or 0 < feedback.hold_for <= MAX_RETRY_AFTER
    for reading in feedback.readings:
        assert reading.limit is not None or reading.remaining is not None
        assert reading.limit is None or reading.limit > 0
        assert reading.remaining is None or reading.remaining >= 0
        assert reading.limit is None or reading.remaining is None or reading.remaining <= reading.limit
        assert reading.reset_after is None or 0.0 <= reading.reset_after <= MAX_RESET_AFTER
        assert reading.per is None or reading.per > 0
