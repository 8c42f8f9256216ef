"""Numbers and moments in header fields, in the forms that servers give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ratesync.rules.retry_after import MAX_RETRY_AFTER, parse_retry_after

MAX_RESET_AFTER = 31 * 86_400.0
"""Longest wait for a reset that is believed, in seconds: a month. A longer one is a number that was misread."""

_LONGEST_VALUE = 64
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?", re.ASCII)
_EARLIEST_EPOCH = 1e8
"""Smaller numbers are seconds from now, greater ones seconds since the epoch: this is 1973."""
_LATEST_EPOCH = 1e11
"""Greater numbers are milliseconds, microseconds or nanoseconds since the epoch: in seconds this is the year 5138."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def parse_count(text: str | None) -> int | None:
    """The whole number, rounded down; None if the text is none. Never raises."""
    text = (text or "").strip()
    return int(text.partition(".")[0] or 0) if _NUMBER.fullmatch(text) else None


def parse_reset(text: str | None, now: float) -> float | None:
    """Seconds until a reset, from 0 to :data:`MAX_RESET_AFTER`; None if the text says nothing. Never raises.

    Understood are seconds from ``now``; seconds, milliseconds and less since the epoch; dates of ISO 8601, in UTC
    unless they say otherwise; and dates of HTTP. Moments that have passed are 0.
    """
    text = (text or "").strip()
    if len(text) > _LONGEST_VALUE:
        return None
    seconds = _from_number(float(text), now) if _NUMBER.fullmatch(text) else _from_date(text, now)
    return None if seconds is None or seconds > MAX_RESET_AFTER else max(seconds, 0.0)


def _from_number(number: float, now: float) -> float:
    if number < _EARLIEST_EPOCH:
        return number
    while number >= _LATEST_EPOCH:
        number /= 1000
    return number - now


def _from_date(text: str, now: float) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        seconds = parse_retry_after(text, now)
        return None if seconds == MAX_RETRY_AFTER else seconds  # a day "or more" is no moment
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH).total_seconds() - now
