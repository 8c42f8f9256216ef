"""What fields a record type has, from the answers of ``personFields`` and its like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ratesync.http.payload import json_array, json_object
from ratesync.model.schema import RemoteField, RemoteSchema
from ratesync.providers.pipedrive.resource import CUSTOM, PipedriveResource
from ratesync.rules.schema_drift import choice_of


def read_schema(resource: PipedriveResource, rows: Iterable[Any]) -> RemoteSchema:
    """The fields by their path in a record. Those of the account's own lie in ``custom_fields``, by their key.

    Choices are the ids of options, as records have those. A field with parts (an address, an amount with its currency)
    has each part by its path, too.
    """
    fields: dict[str, RemoteField] = {}
    for row in rows:
        described = json_object(row) or {}
        code, kind = described.get("field_code"), described.get("field_type")
        if not isinstance(code, str) or not isinstance(kind, str):
            continue
        path = f"{CUSTOM}.{code}" if described.get("is_custom_field") is True else code
        fields[path] = RemoteField(kind, code in resource.required or _is_required(described), _choices(described))
        for part in (json_object(part) or {} for part in json_array(described.get("subfields"))):
            name, part_kind = part.get("field_code"), part.get("field_type")
            if isinstance(name, str) and isinstance(part_kind, str):
                fields[f"{path}.{name.removeprefix(f'{code}_')}"] = RemoteField(part_kind)
    return RemoteSchema(fields)


def _is_required(described: dict[str, Any]) -> bool:
    """Required of every record. A field that is so in some stages only is not, as a new record may be in another."""
    rule = json_object(described.get("required_fields")) or {}
    return rule.get("enabled") is True and not rule.get("stage_ids") and not rule.get("statuses")


def _choices(described: dict[str, Any]) -> frozenset[str] | None:
    options = [json_object(option) or {} for option in json_array(described.get("options"))]
    ids = (choice_of(option.get("id")) for option in options)
    return frozenset(choice for choice in ids if choice is not None) or None
