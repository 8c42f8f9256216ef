"""A record in Salesforce's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratesync.errors import InvalidResponse, PagingBroken
from ratesync.http.payload import json_array, json_object
from ratesync.model.record import Record
from ratesync.providers.row import changed_at_in
from ratesync.providers.salesforce.record_id import is_id
from ratesync.providers.salesforce.sobject import ID, SObject

_ATTRIBUTES = "attributes"


def read_record(row: Any, described: SObject) -> Record | None:
    """The record that a row is; None if it is none."""
    told = json_object(row)
    return record_of(told, described) if told is not None and _has_id(told) else None


def record_of(row: dict[str, Any], described: SObject) -> Record:
    """The record of a row with an id, with the fields that are to be read. Its version is the instant of its change."""
    fields = {name: value for name, value in row.items() if name != _ATTRIBUTES}
    if described.asked:
        fields = {name: fields[name] for name in described.asked if name in fields}
    version = row.get(described.changed_field)
    changed_at = changed_at_in(row, described.changed_field)
    return Record(row[ID], fields, version if isinstance(version, str) else None, changed_at)


def read_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a query's page.

    :raises InvalidResponse: there is no list of them, or a row is no record: it must not be left out unseen.
    """
    if not isinstance(body.get("records"), list) or not isinstance(body.get("done"), bool):
        raise InvalidResponse("Salesforce's answer to a query has no list of records")
    rows = [json_object(row) or {} for row in json_array(body["records"])]
    if not all(map(_has_id, rows)):
        raise InvalidResponse("Salesforce's answer has a record without an id")
    return rows


def read_records(body: dict[str, Any], described: SObject) -> list[Record]:
    """The records of a query's page.

    :raises InvalidResponse: as for :func:`read_rows`.
    """
    return [record_of(row, described) for row in read_rows(body)]


def has_more(body: dict[str, Any], rows: Sequence[Any], limit: int) -> bool:
    """Tell whether there may be more behind the page: it is full, or Salesforce has cut it short.

    :raises PagingBroken: it is empty, and said not to be the last.
    """
    if not body["done"] and not rows:
        raise PagingBroken("a page without records is said not to be the last", fault="position", page=1)
    return not body["done"] or len(rows) >= limit


def _has_id(row: dict[str, Any]) -> bool:
    return isinstance(row.get(ID), str) and is_id(row[ID])
