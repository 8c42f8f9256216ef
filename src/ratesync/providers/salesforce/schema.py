"""A record type's fields, as Salesforce describes them.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm
"""

from __future__ import annotations

from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.model.schema import RemoteField, RemoteSchema

_PICKLIST = "picklist"
_TEXTS = frozenset(
    {"string", "textarea", "phone", "email", "url", "encryptedstring", "combobox", _PICKLIST, "multipicklist"}
)


def read_schema(body: dict[str, Any]) -> RemoteSchema:
    """The fields by their name.

    :raises InvalidResponse: it is no list of fields.
    """
    if not isinstance(body.get("fields"), list):
        raise InvalidResponse("Salesforce's answer has no list of fields")
    fields: dict[str, RemoteField] = {}
    for entry in json_array(body["fields"]):
        described = json_object(entry) or {}
        name, kind = described.get("name"), described.get("type")
        if isinstance(name, str) and isinstance(kind, str) and kind:
            fields[name] = RemoteField(kind, _is_required(described), _choices(described), _length(described))
    return RemoteSchema(fields)


def _is_required(described: dict[str, Any]) -> bool:
    """A new record must have it: it can be written, cannot be empty, and Salesforce does not fill it."""
    return (
        described.get("createable") is True
        and described.get("nillable") is False
        and described.get("defaultedOnCreate") is False
    )


def _choices(described: dict[str, Any]) -> frozenset[str] | None:
    """The active values of a restricted picklist. Others take any text through the API."""
    if described.get("type") != _PICKLIST or described.get("restrictedPicklist") is not True:
        return None
    entries = [json_object(entry) or {} for entry in json_array(described.get("picklistValues"))]
    values = [entry.get("value") for entry in entries if entry.get("active") is True]
    return frozenset(value for value in values if isinstance(value, str)) or None


def _length(described: dict[str, Any]) -> int | None:
    length = described.get("length")
    if described.get("type") not in _TEXTS or not isinstance(length, int) or isinstance(length, bool):
        return None
    return length if length > 0 else None
