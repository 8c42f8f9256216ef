"""What the header fields of an answer tell of the provider's quotas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.rules.rate_limit_fields import DAY, read_rate_limit_fields
from ratesync.rules.retry_after import parse_retry_after
from ratesync.rules.structured_field import LONGEST_FIELD
from ratesync.rules.told_quota import make_reading, merge_readings, replace_readings

_LONGEST_NAME = 100
_SALESFORCE_DAY = re.compile(r"(?<![\w-])api-usage=(\d{1,15})/(\d{1,15})", re.ASCII)
_CALLS = re.compile(r"\s*(\d{1,15})/(\d{1,15})\s*", re.ASCII)
_OVERLOADED = 529
_STRIPE_CAUSES = {
    "global-rate": ThrottleCause.RATE,
    "endpoint-rate": ThrottleCause.RATE,
    "resource-specific": ThrottleCause.RATE,
    "global-concurrency": ThrottleCause.CONCURRENCY,
    "endpoint-concurrency": ThrottleCause.CONCURRENCY,
}


def read_headers(headers: Mapping[str, str], status: int, now: float) -> Feedback:
    """What an answer with these header fields tells of quotas. Never raises, whatever is in them.

    :param headers: by name, in any case.
    :param now: the instant in seconds since the epoch, by the provider's clock if that is known.
    """
    fields = {name.lower(): value[:LONGEST_FIELD] for name, value in headers.items() if _is_of_quotas(name.lower())}
    if not fields and status != _OVERLOADED:
        return NO_FEEDBACK
    told = (*read_rate_limit_fields(fields, now), _salesforce_day(fields), *_calls_in_buckets(fields))
    readings = merge_readings(told)
    return Feedback(
        readings=readings,
        cause=_cause(status, fields.get("stripe-rate-limited-reason"), readings),
        hold_for=parse_retry_after(fields.get("backoff"), now) or None,
    )


def join_feedback(earlier: Feedback, later: Feedback) -> Feedback:
    """What both tell, of one answer or of answers one after the other; of the same quota, what the later one tells."""
    if earlier == NO_FEEDBACK:
        return later
    charged = dict(earlier.charged)
    for unit, cost in later.charged.items():
        charged[unit] = charged.get(unit, 0) + cost
    holds = [feedback.hold_for for feedback in (earlier, later) if feedback.hold_for is not None]
    return Feedback(
        readings=replace_readings(earlier.readings, later.readings),
        charged=charged,
        cause=later.cause or earlier.cause,
        hold_for=max(holds, default=None),
    )


def wait_told(feedback: Feedback) -> float | None:
    """Seconds until a refused call may be made again, as far as the feedback tells."""
    if feedback.hold_for is not None:
        return feedback.hold_for
    return max((reading.reset_after for reading in _used_up(feedback.readings) if reading.reset_after), default=None)


def _is_of_quotas(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and (
        "ratelimit" in name
        or "rate-limit" in name
        or name.endswith("api-call-limit")
        or name in {"backoff", "sforce-limit-info"}
    )


def _salesforce_day(fields: Mapping[str, str]) -> Reading | None:
    """``api-usage=10018/100000``: calls of the last 24 hours, and how many may be made in them.

    ``api-bursts`` is left out: no document tells its window, so it would be taken for another quota.
    """
    match = _SALESFORCE_DAY.search(fields.get("sforce-limit-info", ""))
    return None if match is None else _used_of(match, per=DAY)


def _calls_in_buckets(fields: Mapping[str, str]) -> Iterable[Reading | None]:
    """``32/40``: calls in a leaky bucket, and its size (Shopify, Gorgias)."""
    for name, value in fields.items():
        match = _CALLS.fullmatch(value) if name.endswith("api-call-limit") else None
        if match is not None:
            yield _used_of(match)


def _used_of(match: re.Match[str], per: float | None = None) -> Reading | None:
    limit = int(match[2])
    return make_reading(limit=limit, remaining=limit - int(match[1]), per=per)


def _cause(status: int, stripe: str | None, readings: Iterable[Reading]) -> ThrottleCause | None:
    if status == _OVERLOADED:
        return ThrottleCause.OVERLOAD
    if status != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    if stripe in _STRIPE_CAUSES:
        return _STRIPE_CAUSES[stripe]
    used_up = _used_up(readings)
    if not used_up:
        return None
    of_days = any(reading.per is not None and reading.per >= DAY for reading in used_up)
    return ThrottleCause.BUDGET if of_days else ThrottleCause.RATE


def _used_up(readings: Iterable[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.remaining == 0]
