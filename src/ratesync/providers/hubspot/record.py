"""A record in HubSpot's answers."""

from __future__ import annotations

from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.model.record import Record
from ratesync.providers.row import changed_at_in

_NEVER_SHOWN = "objectWriteTraceId"


def read_record(row: Any) -> Record | None:
    """The record that a row is; None if it is none. Its version is the instant of its last change."""
    fields = json_object(row)
    if fields is None:
        return None
    record_id, version = fields.get("id"), fields.get("updatedAt")
    if isinstance(record_id, int) and not isinstance(record_id, bool):
        record_id = str(record_id)
    if not isinstance(record_id, str) or not record_id:
        return None
    fields = {name: value for name, value in fields.items() if name != _NEVER_SHOWN}
    return Record(record_id, fields, version if isinstance(version, str) else None, changed_at_in(fields, "updatedAt"))


def read_records(body: dict[str, Any]) -> list[Record]:
    """The records of a page.

    :raises InvalidResponse: there is no list of them, or a row is none: it must not be left out unseen.
    """
    if not isinstance(body.get("results"), list):
        raise InvalidResponse("HubSpot's answer has no list of results")
    records = [read_record(row) for row in json_array(body["results"])]
    if None in records:
        raise InvalidResponse("HubSpot's answer has a result without an id")
    return [record for record in records if record is not None]


def next_after(body: dict[str, Any]) -> str | None:
    """Where the next page begins, as the answer tells; None: this was the last."""
    paging = json_object(body.get("paging")) or {}
    after = (json_object(paging.get("next")) or {}).get("after")
    return str(after) if isinstance(after, str | int) and after else None


def properties_of(record: Record) -> dict[str, Any]:
    """The record's properties."""
    return json_object(record.fields.get("properties")) or {}
