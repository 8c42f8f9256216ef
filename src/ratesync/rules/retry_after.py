"""Reading the Retry-After header (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

MAX_RETRY_AFTER = 86_400.0
"""Longest wait that is understood, in seconds: one day. Longer ones are taken for it."""

_LONGEST_VALUE = 64
_SECONDS = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATE = re.compile(
    rf"([a-z]+, *)?(?P<day>\d\d?)[ -](?P<month>[a-z]{{3}})[ -](?P<year>\d{{4}}|\d\d) +{_TIME}"
    r"( +(GMT|UTC|UT|Z|(?P<offset>[+-]\d{4})))?",
    re.ASCII | re.IGNORECASE,
)
_ASCTIME = re.compile(
    rf"[a-z]{{3}} +(?P<month>[a-z]{{3}}) +(?P<day>\d\d?) +{_TIME} +(?P<year>\d{{4}})( +(GMT|UTC))?(?P<offset>)",
    re.ASCII | re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SHORT_YEAR = 2
_CENTURY = 100
_TWO_DIGIT_YEARS_AHEAD = 50
_LAST_SECOND = 59


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from 0 to :data:`MAX_RETRY_AFTER`; None if the value says nothing. Never raises.

    Understood are seconds (also with decimals; negative ones are 0) and dates in the three forms of RFC 9110 (past ones
    are 0). A date without a zone is GMT. ``now`` is in seconds since the epoch.
    """
    text = (value or "").strip()
    if len(text) > _LONGEST_VALUE:
        return None
    if _SECONDS.fullmatch(text):
        return _clamp(float(text))
    match = _DATE.fullmatch(text) or _ASCTIME.fullmatch(text)
    at = _instant(match, now) if match else None
    return None if at is None else _clamp(at - now)


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _instant(match: re.Match[str], now: float) -> float | None:
    try:
        at = datetime(
            _year(match["year"], now),
            _MONTHS.index(match["month"].lower()) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), _LAST_SECOND),  # datetime knows no leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return at.timestamp() - _offset(match["offset"])


def _year(digits: str, now: float) -> int:
    """The year; one of two digits is the nearest such year, at most 50 years ahead (RFC 9110, section 5.6.7)."""
    if len(digits) > _SHORT_YEAR:
        return int(digits)
    this_year = datetime.fromtimestamp(now, UTC).year
    ahead = (int(digits) - this_year) % _CENTURY
    return this_year + (ahead if ahead <= _TWO_DIGIT_YEARS_AHEAD else ahead - _CENTURY)


def _offset(zone: str | None) -> float:
    """Seconds by which a zone such as ``+0130`` is ahead of GMT."""
    if not zone:
        return 0.0
    seconds = int(zone[1:3]) * 3600.0 + int(zone[3:5]) * 60.0
    return -seconds if zone.startswith("-") else seconds
