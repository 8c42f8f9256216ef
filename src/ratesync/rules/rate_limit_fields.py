"""RateLimit fields: those of the IETF's drafts, and the many that are spelt ``X-RateLimit-...``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ratesync.model.feedback import Reading
from ratesync.rules.header_number import parse_count, parse_reset
from ratesync.rules.structured_field import Item, parse_items
from ratesync.rules.told_quota import make_reading

DAY = 86_400.0

_WINDOWS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": DAY,
    "daily": DAY,
    "month": 30 * DAY,
}
_RESOURCES = {"core": 3600.0, "graphql": 3600.0, "search": 60.0, "code_search": 60.0}
"""GitHub names the quota by its resource; the windows are in its documentation. Its other quotas are rare, and nobody
declares them: they would be taken for the one of the hour."""

_NAME = re.compile(r"(?P<family>(?:[a-z0-9]+-)*?rate-?limit)-(?P<part>.+)")
_PARTS: dict[str, tuple[str, float | None]] = {
    "limit": ("limit", None),
    "max": ("limit", None),
    "token-limit": ("limit", None),  # Pipedrive's x-daily-ratelimit-token-limit
    "remaining": ("remaining", None),
    "token-remaining": ("remaining", None),
    "used": ("used", None),
    "reset": ("reset", None),
    "reset-after": ("reset-after", None),
    "interval-milliseconds": ("interval", None),
    "resource": ("resource", None),
    "daily": ("limit", DAY),  # HubSpot's X-HubSpot-RateLimit-Daily
    **{f"{part}-{word}": (part, per) for part in ("limit", "remaining", "reset") for word, per in _WINDOWS.items()},
    **{f"{word}-{part}": (part, per) for part in ("limit", "remaining", "reset") for word, per in _WINDOWS.items()},
}
"""What the end of a name stands for, and the window that it names."""


class _Policy(NamedTuple):
    name: str | None
    limit: int
    per: float | None
    is_of_requests: bool


def read_rate_limit_fields(fields: Mapping[str, str], now: float) -> list[Reading | None]:
    """The readings in RateLimit fields, by names in lower case; None for each that tells nothing. Never raises.

    Quotas in another unit than requests are left out, as nobody could tell which declared quota they are.
    """
    policies = _policies(parse_items(fields.get("ratelimit-policy", "")))
    stated = list(policies)
    readings = _read_standard(fields["ratelimit"], policies, now) if "ratelimit" in fields else []
    for (family, per), parts in _groups(fields).items():
        beside = _policies(item for item in parse_items(parts.get("limit", "")) if "w" in item.params)
        readings.append(_read_group(parts, per, policies + beside if family == "ratelimit" else beside, now))
        stated += beside
    told = {(reading.limit, reading.per) for reading in readings if reading is not None}
    unused = (policy for policy in stated if policy.is_of_requests and (policy.limit, policy.per) not in told)
    return [*readings, *(make_reading(limit=policy.limit, per=policy.per) for policy in unused)]


def _policies(items: Iterable[Item]) -> list[_Policy]:
    """``"name";q=100;w=60`` since draft 8, ``100;w=60`` before."""
    policies: list[_Policy] = []
    for item in items:
        named = "q" in item.params
        limit = parse_count(item.params["q"] if named else item.value)
        if limit is not None and limit > 0:
            per = parse_count(item.params.get("w"))
            of_requests = item.params.get("qu", "requests") == "requests"
            policies.append(_Policy(item.value if named else None, limit, per, of_requests))
    return policies


def _read_standard(field: str, policies: list[_Policy], now: float) -> list[Reading | None]:
    """``"name";r=50;t=30`` since draft 8, ``limit=100, remaining=50, reset=30`` in draft 7."""
    items = parse_items(field)
    pairs = [item.value.partition("=") for item in items if "=" in item.value]
    parts = {name.strip().lower(): value for name, _, value in pairs}
    return [*(_read_item(item, policies, now) for item in items), _read_group(parts, None, policies, now)]


def _read_item(item: Item, policies: list[_Policy], now: float) -> Reading | None:
    remaining = parse_count(item.params.get("r"))
    policy = next((policy for policy in policies if policy.name == item.value), None)
    if remaining is None or (policy is not None and not policy.is_of_requests):
        return None
    return make_reading(
        limit=None if policy is None else policy.limit,
        remaining=remaining,
        reset_after=parse_reset(item.params.get("t"), now),
        per=None if policy is None else policy.per,
    )


def _groups(fields: Mapping[str, str]) -> dict[tuple[str, float | None], dict[str, str]]:
    """The fields that belong together, by the family of their names and the window that these tell."""
    groups: dict[tuple[str, float | None], dict[str, str]] = {}
    for name, value in fields.items():
        match = _NAME.fullmatch(name)
        if match is not None and match["part"] in _PARTS:
            part, per = _PARTS[match["part"]]
            if per is None and "daily" in match["family"]:
                per = DAY
            groups.setdefault((match["family"], per), {}).setdefault(part, value)
    return groups


def _read_group(parts: Mapping[str, str], per: float | None, policies: list[_Policy], now: float) -> Reading | None:
    """``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``, and what else comes with them."""
    resource = parts.get("resource")
    if resource is not None and resource not in _RESOURCES:
        return None
    limit = _first_count(parts.get("limit"))
    remaining = _first_count(parts.get("remaining"))
    used = _first_count(parts.get("used"))
    if remaining is None and limit is not None and used is not None:
        remaining = limit - used
    return make_reading(
        limit=limit,
        remaining=remaining,
        reset_after=parse_reset(parts.get("reset-after") or parts.get("reset"), now),
        per=per or _interval(parts) or _RESOURCES.get(resource or "") or _window_of(limit, policies),
    )


def _first_count(field: str | None) -> int | None:
    """Of ``100, 100;w=10`` the first number. A field that came twice is joined in the same way."""
    return next((parse_count(item.value) for item in parse_items(field or "")), None)


def _interval(parts: Mapping[str, str]) -> float | None:
    """HubSpot's ``-Interval-Milliseconds``, in seconds."""
    milliseconds = parse_count(parts.get("interval"))
    return None if milliseconds is None else milliseconds / 1000


def _window_of(limit: int | None, policies: list[_Policy]) -> float | None:
    """The window of the only policy with that limit."""
    windows = {policy.per for policy in policies if policy.limit == limit and policy.is_of_requests}
    return windows.pop() if len(windows) == 1 else None
