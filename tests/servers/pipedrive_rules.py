"""What Pipedrive's API takes and refuses, for the fake of it: fields and their types, parameters, cursors.

From https://developers.pipedrive.com/docs/api/v1 and the guides at https://pipedrive.readme.io. Version 2 is strict: a
number as text, a fraction of a second or an unknown field is an error.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, cast

Row = dict[str, Any]

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CUSTOM_KEY = re.compile(r"[0-9a-f]{40}")
LISTING = {"filter_id", "ids", "owner_id", "sort_by", "sort_direction", "custom_fields", "include_fields"} | {
    "limit",
    "cursor",
}
CHANGES = {"updated_since", "updated_until"}
OF_DEALS = {"person_id", "org_id", "pipeline_id", "stage_id", "status"}
SEARCH = {"term", "fields", "exact_match", "limit", "cursor", "organization_id", "include_fields"}

NUMBER, TEXT, FLAG, ITEMS, OBJECT = (int, float), (str,), (bool,), (list,), (dict,)
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "persons": {
        "name": TEXT,
        "owner_id": NUMBER,
        "org_id": NUMBER,
        "add_time": TEXT,
        "update_time": TEXT,
        "emails": ITEMS,
        "phones": ITEMS,
        "visible_to": NUMBER,
        "label_ids": ITEMS,
        "custom_fields": OBJECT,
    },
    "organizations": {
        "name": TEXT,
        "owner_id": NUMBER,
        "add_time": TEXT,
        "update_time": TEXT,
        "visible_to": NUMBER,
        "label_ids": ITEMS,
        "address": OBJECT,
        "custom_fields": OBJECT,
    },
    "deals": {
        "title": TEXT,
        "owner_id": NUMBER,
        "person_id": NUMBER,
        "org_id": NUMBER,
        "pipeline_id": NUMBER,
        "stage_id": NUMBER,
        "value": NUMBER,
        "currency": TEXT,
        "is_archived": FLAG,
        "status": TEXT,
        "probability": NUMBER,
        "lost_reason": TEXT,
        "visible_to": NUMBER,
        "expected_close_date": TEXT,
        "label_ids": ITEMS,
        "custom_fields": OBJECT,
    },
    "leads": {"title": TEXT, "person_id": NUMBER, "organization_id": NUMBER, "value": OBJECT, "is_archived": FLAG},
    "notes": {"content": TEXT, "deal_id": NUMBER, "person_id": NUMBER, "org_id": NUMBER, "lead_id": TEXT},
}
REQUIRED = {"persons": "name", "organizations": "name", "deals": "title", "leads": "title", "notes": "content"}
SEARCHED = {
    "persons": {"name": "name", "email": "emails", "phone": "phones"},
    "organizations": {"name": "name", "address": "address"},
    "deals": {"title": "title"},
}
OLD = frozenset({"leads", "notes"})
"""Of version 1."""
COSTS = {"GET": (1, 10), "POST": (5, 5), "PATCH": (5, 5), "PUT": (5, 5), "DELETE": (3, 3)}
"""Tokens of version 2 for one record, and for a listing; version 1 takes twice as many."""


class Invalid(Exception):
    """The request is refused with 400."""


def check_query(kind: str, query: dict[str, str], *, is_search: bool) -> None:
    """Refuse what the API does not document, as a request with a mistake in it would be heeded in part."""
    if kind in OLD:
        known = {"start", "limit", "sort", "filter_id"}
    elif is_search:
        known = SEARCH
    else:
        known = LISTING | CHANGES | (OF_DEALS if kind == "deals" else set[str]())
    if query.keys() - known:
        raise Invalid(f"Validation failed: {sorted(query.keys() - known)}: Unknown key")
    for name in CHANGES & query.keys():
        if not RFC3339.fullmatch(query[name]):
            raise Invalid(f"Validation failed: {name}: not a valid datetime")
    if not 1 <= int(query.get("limit", "100")) <= 500:
        raise Invalid("Validation failed: limit: Must be at most 500")
    if len(query.get("ids", "").split(",")) > 100:
        raise Invalid("Validation failed: ids: at most 100")
    if query.get("sort_by", "id") not in {"id", "update_time", "add_time"}:
        raise Invalid("Validation failed: sort_by")


def check_body(kind: str, body: Any, custom: set[str], *, is_new: bool) -> Row:
    """The fields of a record to write."""
    if not isinstance(body, dict):
        raise Invalid("Validation failed: expected an object")
    fields = cast("Row", body)
    if is_new and not fields.get(REQUIRED[kind]):
        raise Invalid(f"Validation failed: {REQUIRED[kind]}: Required")
    for name, value in fields.items():
        types = FIELDS[kind].get(name)
        if types is None:
            raise Invalid(f"Validation failed: Unknown key '{name}'")
        if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise Invalid(f"Validation failed: {name}: Expected another type")
    given: Row = fields.get("custom_fields") or {}
    unknown = given.keys() - custom
    if unknown:
        raise Invalid(f"Validation failed: custom_fields: Unknown key '{min(unknown)}'")
    return fields


def write_cursor(row: Row, by: str, direction: str) -> str:
    """A cursor of version 2: the instant or id of the last row, and its id."""
    text = json.dumps({"field": by, "fieldValue": row[by], "sortDirection": direction, "id": row["id"]})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str, by: str, direction: str) -> tuple[Any, int]:
    """What a cursor stands for; it goes with the order that it was made for."""
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=="))
        if (value["field"], value["sortDirection"]) != (by, direction):
            raise Invalid("Validation failed: cursor")
        return value["fieldValue"], value["id"]
    except (ValueError, KeyError, TypeError):
        raise Invalid("Validation failed: cursor") from None


def has_term(row: Row, kind: str, query: dict[str, str]) -> bool:
    """Tell whether a search finds the row: whole values, regardless of case."""
    values: list[Any] = []
    for name in query["fields"].split(","):
        if name == "custom_fields":
            values += list(row["custom_fields"].values())
        elif name not in SEARCHED[kind]:
            raise Invalid("Validation failed: fields")
        else:
            held = row.get(SEARCHED[kind][name])
            values += held if isinstance(held, list) else [held]
    texts = {str(cast("Row", value).get("value") if isinstance(value, dict) else value).casefold() for value in values}
    return query["term"].casefold() in texts
