"""How well-known providers tell of throttling in bodies, or in statuses of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.http.response import Response
from ratesync.model.feedback import NO_FEEDBACK, Feedback, ThrottleCause
from ratesync.rules.retry_after import MAX_RETRY_AFTER
from ratesync.rules.told_quota import make_reading

_MOST_ERRORS = 20
"""Errors of an answer that are looked at."""
_TOO_MANY = 1e15
"""No count is as high."""

_HUBSPOT_CAUSES = {
    "DAILY": ThrottleCause.BUDGET,
    "SECONDLY": ThrottleCause.RATE,
    "TEN_SECONDLY_ROLLING": ThrottleCause.RATE,
}
_HUBSPOT_MESSAGE = re.compile(r"reached your (daily|secondly|ten_secondly_rolling) limit", re.IGNORECASE)


def hubspot_throttle(response: Response) -> Feedback | None:
    """HubSpot: a 429 names its policy in the body: DAILY, SECONDLY or TEN_SECONDLY_ROLLING."""
    if response.status != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    body = _object(response)
    message = _HUBSPOT_MESSAGE.search(_text(body, "message"))
    policy = _text(body, "policyName") or (message[1] if message else "")
    cause = _HUBSPOT_CAUSES.get(policy.upper())
    return None if cause is None else Feedback(cause=cause)


def salesforce_throttle(response: Response) -> Feedback | None:
    """Salesforce: REQUEST_LIMIT_EXCEEDED, with 403 or another status, for calls of the day or long ones at once."""
    if response.is_success:
        return None
    body = _json(response)
    errors = [body, *json_array(body)[:_MOST_ERRORS]]
    for error in (json_object(error) or {} for error in errors):
        if error.get("errorCode") == "REQUEST_LIMIT_EXCEEDED":
            concurrent = "concurrent" in _text(error, "message").lower()
            return Feedback(cause=ThrottleCause.CONCURRENCY if concurrent else ThrottleCause.BUDGET)
    return None


def shopify_throttle(response: Response) -> Feedback | None:
    """Shopify's GraphQL: the cost of a query in points, and THROTTLED errors in answers of 200 OK.

    Its quota is ``LeakyBucket(maximumAvailable, restore=restoreRate, unit="points")``.
    """
    if response.status != HTTPStatus.OK:
        return None
    body = _object(response)
    cost = _dig(body, "extensions", "cost")
    status = _dig(cost, "throttleStatus")
    available = _number(status.get("currentlyAvailable"))
    reading = make_reading(limit=_whole(status.get("maximumAvailable")), remaining=_whole(available))
    readings = () if reading is None else (reading,)
    if any(_dig(error, "extensions").get("code") == "THROTTLED" for error in _errors(body)):
        restore = _number(status.get("restoreRate"))
        requested = _number(cost.get("requestedQueryCost"))
        wait = None
        if available is not None and requested is not None and restore:
            wait = min(max(requested - available, 0.0) / restore, MAX_RETRY_AFTER)
        return Feedback(readings=readings, cause=ThrottleCause.RATE, hold_for=wait)
    actual = _whole(cost.get("actualQueryCost"))
    if not readings and actual is None:
        return None
    return Feedback(readings=readings, charged={} if actual is None else {"points": actual})


def stripe_throttle(response: Response) -> Feedback | None:
    """Stripe: a 429 for ``lock_timeout`` is no rate limit; another request had the same object locked.

    The causes of the others are in a header, which :func:`~ratesync.http.read_feedback` reads.
    """
    if response.status != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    return NO_FEEDBACK if _dig(_object(response), "error").get("code") == "lock_timeout" else None


def github_throttle(response: Response) -> Feedback | None:
    """GitHub: 403 as well as 429 for its limits, and 200 with RATE_LIMITED errors from GraphQL.

    The secondary limits are none that could be declared, and which of them it was is not told: they count as overload,
    so that the connection is left alone and no declared quota is taken for used up.
    """
    used_up = response.headers.get("x-ratelimit-remaining", "").strip() == "0"
    if response.status == HTTPStatus.OK:
        limited = used_up and any(error.get("type") == "RATE_LIMITED" for error in _errors(_object(response)))
        return Feedback(cause=ThrottleCause.RATE) if limited else None
    if response.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    if used_up:
        return Feedback(cause=ThrottleCause.RATE)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or "retry-after" in response.headers:
        return Feedback(cause=ThrottleCause.OVERLOAD)
    secondary = "secondary rate limit" in _text(_object(response), "message").lower()
    return Feedback(cause=ThrottleCause.OVERLOAD) if secondary else None


def _json(response: Response) -> Any:
    try:
        return response.json()
    except InvalidResponse:
        return None


def _object(response: Response) -> Mapping[str, Any]:
    return json_object(_json(response)) or {}


def _errors(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The errors in an answer of GraphQL."""
    return (json_object(error) or {} for error in json_array(body.get("errors"))[:_MOST_ERRORS])


def _dig(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object under the names; an empty one where they lead to none."""
    for name in names:
        value = json_object(value.get(name)) or {}
    return value


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    return text if isinstance(text, str) else ""


def _number(value: Any) -> float | None:
    """The number, if it is one of those that are counts."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _TOO_MANY else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
