"""The requests that are made, as Salesforce documents them. Paths begin behind ``/services/data/v65.0``.

- https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_retrieve.htm
- https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm
- https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_composite.htm
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ratesync.model.operation import Kind, Operation
from ratesync.providers.client import Ask
from ratesync.providers.salesforce.record_id import external_value, plain_id
from ratesync.providers.salesforce.sobject import ID, SObject
from ratesync.providers.salesforce.soql import one_of, select

BATCH_MAX = 200
"""Most records of a collection."""
COMPOSITE_MAX = 25
"""Most requests within a request."""


def one(name: str, described: SObject, operation: Operation) -> Ask:
    """The request of one operation that is no delete."""
    match operation.kind:
        case Kind.CREATE:
            return Ask("POST", f"/sobjects/{name}", json=dict(operation.fields))
        case Kind.UPSERT:
            body = {key: value for key, value in operation.fields.items() if key != described.external_id}
            return Ask("PATCH", _by_value(name, described, operation.record_id), json=body)
        case Kind.UPDATE:
            return Ask("PATCH", f"/sobjects/{name}/{operation.record_id}", json=dict(operation.fields))
        case _ if external_value(operation.record_id, described) is not None:
            return Ask("GET", _by_value(name, described, operation.record_id))
        case _:
            params = {"fields": ",".join(described.asked)} if described.asked else {}
            return Ask("GET", f"/sobjects/{name}/{operation.record_id}", params)


def many(name: str, described: SObject, kind: Kind, operations: Sequence[Operation]) -> Ask:
    """The request of operations of one kind, of which some may fail and others not; reads name records by id."""
    match kind:
        case Kind.READ:
            return read_by_ids(name, described, [operation.record_id or "" for operation in operations])
        case Kind.DELETE:
            ids = ",".join(operation.record_id or "" for operation in operations)
            return Ask("DELETE", "/composite/sobjects", {"ids": ids, "allOrNone": "false"})
        case Kind.CREATE:
            records = [_record(name, operation.fields) for operation in operations]
            return Ask("POST", "/composite/sobjects", json={"allOrNone": False, "records": records})
        case Kind.UPDATE:
            records = [_record(name, {"id": operation.record_id, **operation.fields}) for operation in operations]
            return Ask("PATCH", "/composite/sobjects", json={"allOrNone": False, "records": records})
        case Kind.UPSERT:
            unique = described.external_id or ""
            records = [
                _record(name, {**operation.fields, unique: external_value(operation.record_id, described)})
                for operation in operations
            ]
            body = {"allOrNone": False, "records": records}
            return Ask("PATCH", f"/composite/sobjects/{name}/{unique}", json=body)


def read_by_ids(name: str, described: SObject, ids: Iterable[str]) -> Ask:
    """The request for records by Salesforce's ids. Without fields to name it is a query."""
    named = list({plain_id(record_id): record_id for record_id in ids}.values())
    if not described.asked:
        return query(select(described, name, one_of(ID, named), limit=BATCH_MAX))
    return Ask("POST", f"/composite/sobjects/{name}", json={"ids": named, "fields": list(described.asked)})


def read_by_values(name: str, described: SObject, path: Callable[[str], str], operations: Sequence[Operation]) -> Ask:
    """The request for records by values of the external id: several in one, each known by a reference.

    :param path: a request's path, as it is called: those within this one name it in full.
    """
    inner = [
        {
            "method": "GET",
            "url": path(_by_value(name, described, operation.record_id)),
            "referenceId": f"r{place}",
        }
        for place, operation in enumerate(operations)
    ]
    return Ask("POST", "/composite", json={"allOrNone": False, "compositeRequest": inner})


def read_by_value(name: str, described: SObject, value: str) -> Ask:
    """The request for the record that has a value of the external id."""
    return Ask("GET", _by_value(name, described, f"{described.external_id}/{value}"))


def query(soql: str, *, deleted: bool = False) -> Ask:
    """The request of a query; of deleted and archived records too where ``deleted`` is set."""
    return Ask("GET", "/queryAll" if deleted else "/query", {"q": soql})


def description(name: str) -> Ask:
    """The request for a type's fields."""
    return Ask("GET", f"/sobjects/{name}/describe")


def _by_value(name: str, described: SObject, record_id: str | None) -> str:
    value = external_value(record_id, described) or ""
    return f"/sobjects/{name}/{described.external_id}/{quote(value, safe='')}"


def _record(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": {"type": name}, **fields}
