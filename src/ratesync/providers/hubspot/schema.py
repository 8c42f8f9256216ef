"""A record type's properties, as HubSpot describes them."""

from __future__ import annotations

from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.model.schema import RemoteField, RemoteSchema

_SEVERAL = "checkbox"
"""Several options can be chosen, in one text with semicolons, so that no list of values says what is allowed."""


def read_schema(body: dict[str, Any]) -> RemoteSchema:
    """The properties by their path in a record (``properties.email``). Which ones are required is not told.

    :raises InvalidResponse: it is no list of properties.
    """
    if not isinstance(body.get("results"), list):
        raise InvalidResponse("HubSpot's answer has no list of properties")
    fields: dict[str, RemoteField] = {}
    for entry in json_array(body["results"]):
        described = json_object(entry) or {}
        name = described.get("name")
        if isinstance(name, str) and described.get("archived") is not True:
            fields[f"properties.{name}"] = _field(described)
    return RemoteSchema(fields)


def _field(described: dict[str, Any]) -> RemoteField:
    kind, widget = described.get("type"), described.get("fieldType")
    has_choices = (
        kind in {"enumeration", "bool"} and widget != _SEVERAL and described.get("externalOptions") is not True
    )
    options = [json_object(option) or {} for option in json_array(described.get("options"))]
    values = frozenset(option["value"] for option in options if isinstance(option.get("value"), str))
    name = f"{kind}/{widget}" if widget == _SEVERAL else str(kind)
    return RemoteField(name, choices=values if has_choices and values else None)
