"""The requests that are made, as HubSpot documents them.

Paths, methods and bodies: https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/objects/guide
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ratesync.model.operation import Kind, Operation
from ratesync.providers.client import Ask
from ratesync.providers.hubspot.object_type import ObjectType
from ratesync.providers.hubspot.properties import written
from ratesync.providers.hubspot.quotas import SEARCHES

BATCH_MAX = 100
"""Most inputs of a batch."""
LISTING_MAX = 100
"""Most records on a page of a listing."""
SEARCH_MAX = 200
"""Most records on a page of a search."""

_OBJECTS = "/crm/v3/objects"
_METHODS = {Kind.READ: "GET", Kind.UPDATE: "PATCH", Kind.DELETE: "DELETE"}
_ACTIONS = {
    Kind.CREATE: "create",
    Kind.READ: "read",
    Kind.UPDATE: "update",
    Kind.UPSERT: "upsert",
    Kind.DELETE: "archive",
}


V3 = "v3"
_DATED = re.compile(r"\d{4}-\d{2}(-beta)?")


def is_version(version: str) -> bool:
    """Tell whether it is a version of the API: ``"v3"``, or a dated one such as ``"2026-03"``."""
    return version == V3 or _DATED.fullmatch(version) is not None


def path_in(path: str, version: str) -> str:
    """The path of version 3 in another version: ``/crm/v3/objects/deals`` is ``/crm/objects/2026-03/deals``."""
    if version == V3:
        return path
    _, crm, _, part, *rest = path.split("/")
    return "/".join(("", crm, part, version, *rest))


def one(resource: str, described: ObjectType, operation: Operation) -> Ask:
    """The request of one operation: a create, or one that names its record by HubSpot's id."""
    path = f"{_OBJECTS}/{described.name or resource}"
    if operation.kind is Kind.CREATE:
        return Ask("POST", path, json={"properties": written(operation.fields), "associations": []})
    record = f"{path}/{operation.record_id}"
    if operation.kind is Kind.UPDATE:
        return Ask("PATCH", record, json={"properties": written(operation.fields)})
    params = _properties(described) if operation.kind is Kind.READ else {}
    return Ask(_METHODS[operation.kind], record, params)


def many(
    resource: str, described: ObjectType, kind: Kind, operations: Iterable[Operation], *, by_value: bool = False
) -> Ask:
    """The request of many operations of one kind.

    :param by_value: reads name their records by values of the unique property. (Upserts always do.)
    """
    inputs = [_input(described, operation) for operation in operations]
    if kind in {Kind.READ, Kind.DELETE}:
        inputs = list({each["id"]: each for each in inputs}.values())  # HubSpot takes no id twice
    body: dict[str, Any] = {"inputs": inputs}
    if kind is Kind.READ:
        body |= {"properties": list(described.asked), "propertiesWithHistory": []}
        if by_value:
            body["idProperty"] = described.unique_property
    return Ask("POST", f"{_OBJECTS}/{described.name or resource}/batch/{_ACTIONS[kind]}", json=body)


def read_by_value(resource: str, described: ObjectType, value: str, properties: Iterable[str]) -> Ask:
    """The request for the record that has a value at the unique property, if there is one, with some properties."""
    body = {
        "idProperty": described.unique_property,
        "inputs": [{"id": value}],
        "properties": list(properties),
        "propertiesWithHistory": [],
    }
    return Ask("POST", f"{_OBJECTS}/{described.name or resource}/batch/read", json=body)


def read_by_ids(resource: str, described: ObjectType, ids: Iterable[str]) -> Ask:
    """The request for records by HubSpot's ids."""
    body = {
        "inputs": [{"id": record_id} for record_id in ids],
        "properties": list(described.asked),
        "propertiesWithHistory": [],
    }
    return Ask("POST", f"{_OBJECTS}/{described.name or resource}/batch/read", json=body)


def search(
    resource: str,
    described: ObjectType,
    filters: Sequence[Mapping[str, Any]],
    *,
    properties: Sequence[str],
    sort: str | None,
    limit: int,
) -> Ask:
    """The request for the first page of a search; only one property can be sorted by, in ascending order."""
    body = {
        "filterGroups": [{"filters": list(filters)}],
        "sorts": [] if sort is None else [sort],
        "properties": list(properties),
        "limit": max(1, min(limit, SEARCH_MAX)),
        "after": "0",
    }
    return Ask("POST", f"{_OBJECTS}/{described.name or resource}/search", json=body, unit=SEARCHES)


def listing(resource: str, described: ObjectType, after: str | None, *, limit: int, archived: bool = False) -> Ask:
    """The request for a page of all records, or of all archived ones."""
    params = {"limit": str(max(1, min(limit, LISTING_MAX))), "archived": "true" if archived else "false"}
    params |= {} if archived else _properties(described)
    params |= {} if after is None else {"after": after}
    return Ask("GET", f"{_OBJECTS}/{described.name or resource}", params)


def description(resource: str, described: ObjectType) -> Ask:
    """The request for a type's properties."""
    return Ask("GET", f"/crm/v3/properties/{described.name or resource}", {"archived": "false"})


def _input(described: ObjectType, operation: Operation) -> dict[str, Any]:
    if operation.kind in {Kind.READ, Kind.DELETE}:
        return {"id": operation.record_id}
    properties, trace = written(operation.fields), {"objectWriteTraceId": operation.id}
    if operation.kind is Kind.CREATE:
        return {"properties": properties, "associations": [], **trace}
    if operation.kind is Kind.UPDATE:
        return {"id": operation.record_id, "properties": properties, **trace}
    unique, value = described.unique_property or "", operation.record_id or ""
    # Written as well, so that the answer shows it and the result can be told by it.
    return {"id": value, "idProperty": unique, "properties": {unique: value, **properties}, **trace}


def _properties(described: ObjectType) -> dict[str, str]:
    return {"properties": ",".join(described.asked)} if described.asked else {}
