"""A record of Pipedrive's, as a row of an answer has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_object
from ratesync.model.record import Record
from ratesync.providers.pipedrive.resource import CUSTOM
from ratesync.providers.row import changed_at_in


def id_of(row: Any) -> str | None:
    """The row's id as text: a number, or a UUID. None if it has none."""
    found = (json_object(row) or {}).get("id")
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    return str(found) or None


def is_gone(row: Any) -> bool:
    """Tell whether the row is that of a deleted record: version 1 says it in another way."""
    fields = json_object(row) or {}
    return fields.get("is_deleted") is True or fields.get("active_flag") is False or fields.get("status") == "deleted"


def mark_of(row: Any, key: str | None) -> Any:
    """What the row's custom field of that key holds."""
    custom = json_object((json_object(row) or {}).get(CUSTOM)) or {}
    return None if key is None else custom.get(key)


def record_of(row: Any, identity_key: str | None = None) -> Record:
    """The record of a row, without the custom field by which creates are recognised: that one is ours.

    :raises InvalidResponse: the row has no id.
    """
    fields, record_id = json_object(row), id_of(row)
    if fields is None or record_id is None:
        raise InvalidResponse("a row of the answer is no record with an id")
    custom = json_object(fields.get(CUSTOM))
    if custom is not None and identity_key in custom:
        fields = {**fields, CUSTOM: {key: value for key, value in custom.items() if key != identity_key}}
    return Record(record_id, fields, version_of(fields), changed_at_in(fields, "update_time"))


def records_of(rows: Iterator[Any] | list[Any], identity_key: str | None) -> tuple[Record, ...]:
    """The records of rows, but those that are deleted."""
    return tuple(record_of(row, identity_key) for row in rows if not is_gone(row))


def version_of(fields: dict[str, Any]) -> str:
    """A digest of all that the record has.

    ``update_time`` would not do: it is in whole seconds, so that two changes within one second would have the same.
    """
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=12).hexdigest()
