"""A resource's fields out of a JSON Schema."""

from __future__ import annotations

from typing import Any

from ratesync.http.payload import json_array, json_object
from ratesync.model.schema import RemoteField, RemoteSchema
from ratesync.rules.schema_drift import choice_of

_ANY = "any"


def read_json_schema(schema: Any) -> RemoteSchema:
    """The fields that a JSON Schema names, those of nested objects by their dotted path. What is no schema has none."""
    return RemoteSchema(dict(_fields(schema, "")))


def _fields(schema: Any, prefix: str) -> list[tuple[str, RemoteField]]:
    members = json_object(schema) or {}
    required = json_array(members.get("required"))
    found: list[tuple[str, RemoteField]] = []
    for name, value in (json_object(members.get("properties")) or {}).items():
        told = json_object(value) or {}
        found.append((prefix + name, _field(told, required=name in required)))
        found += _fields(told, f"{prefix}{name}.")
    return found


def _field(told: dict[str, Any], *, required: bool) -> RemoteField:
    types = told.get("type")
    names = [str(name) for name in (json_array(types) or ([] if types is None else [types]))]
    choices = [choice for value in json_array(told.get("enum")) if (choice := choice_of(value)) is not None]
    longest = told.get("maxLength")
    return RemoteField(
        "|".join(sorted(names)) or _ANY,
        required=required,
        choices=frozenset(choices) if choices else None,
        max_length=longest if isinstance(longest, int) and not isinstance(longest, bool) else None,
    )
