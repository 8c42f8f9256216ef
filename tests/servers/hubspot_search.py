"""HubSpot's search, with its limits."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from tests.servers.hubspot_account import EPOCH, Account, Json, Refused, Row

PAGE = 200
LONGEST = 3_000

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq,
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}

Seen = dict[str, str | None]


def search(account: Account, kind: str, raw: bytes) -> Json:
    """The answer to a search."""
    body: Json = json.loads(raw)
    _check(raw, body, account.search_rows)
    groups, limit, after = body.get("filterGroups", []), int(body.get("limit", 10)), int(body.get("after") or 0)
    account.rows_of(kind)
    schema = account.schema(kind)
    for each in (one for group in groups for one in group["filters"]):
        if each["propertyName"] not in schema:
            raise Refused(400, "VALIDATION_ERROR", f"There was a problem with the request: {each['propertyName']}")
    wanted = [[_condition(one, schema) for one in group["filters"]] for group in groups]
    found = [
        (row, seen)
        for row, seen in account.searchable(kind)
        if not wanted or any(all(holds(seen) for holds in group) for group in wanted)
    ]
    sorts = body.get("sorts", [])
    if sorts:
        # Nothing is promised about records that are equal by the one property that is sorted by: not by id.
        name = str(sorts[0])
        found.sort(key=lambda pair: pair[0].id * 7_919 % 10_007)
        found.sort(key=lambda pair: _ordered(pair[1].get(name.lstrip("-"))), reverse=name.startswith("-"))
    page = found[after : after + limit]
    answer: Json = {"total": len(found), "results": [_entry(account, kind, row, seen, body) for row, seen in page]}
    if after + limit < len(found):
        answer["paging"] = {"next": {"after": str(after + limit)}}
    return answer


def _check(raw: bytes, body: Json, most: int) -> None:
    groups = body.get("filterGroups", [])
    filters = [len(group["filters"]) for group in groups]
    limit, after = int(body.get("limit", 10)), int(body.get("after") or 0)
    faults = {
        "the body is longer than 3,000 characters": len(raw.decode()) > LONGEST,
        "too many filters": len(groups) > 5 or sum(filters) > 18 or max(filters, default=0) > 6,
        "only one sort is allowed": len(body.get("sorts", [])) > 1,
        "limit must be from 1 to 200": not 1 <= limit <= PAGE,
        "paging beyond that many results is not possible": after + limit > most,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise Refused(400, "VALIDATION_ERROR", f"There was a problem with the request: {fault}")


def _entry(account: Account, kind: str, row: Row, seen: Seen, body: Json) -> Json:
    shown = Row(row.id, row.created_at, row.updated_at, seen)
    entry = account.shown(kind, shown, body.get("properties") or ("email", "firstname", "lastname"))
    changed = account.changed_property(kind)
    entry["properties"][changed] = seen[changed]
    entry["updatedAt"] = seen[changed]
    return entry


def _condition(one: Json, schema: Json) -> Callable[[Seen], bool]:
    """A filter as a function."""
    name, how = one["propertyName"], one["operator"]
    if how in {"HAS_PROPERTY", "NOT_HAS_PROPERTY"}:
        return lambda seen: (seen.get(name) is not None) is (how == "HAS_PROPERTY")
    if how == "IN":
        values, is_text = set(one["values"]), schema[name]["type"] == "string"
        return lambda seen: ((seen.get(name) or "").lower() if is_text else seen.get(name)) in values - {""}
    compare, asked = COMPARISONS[how], _ordered(one["value"])
    return lambda seen: (held := seen.get(name)) is not None and compare(_ordered(held), asked)


@lru_cache(maxsize=100_000)
def _ordered(value: str | None) -> tuple[int, int | str]:
    """A value as it is compared: numbers and instants as numbers."""
    if value is None:
        return 0, 0
    if value.isdecimal():
        return 1, int(value)
    if value[:4].isdecimal() and value.endswith("Z"):
        return 1, round((datetime.fromisoformat(value) - EPOCH).total_seconds() * 1000)
    return 2, value.lower()
