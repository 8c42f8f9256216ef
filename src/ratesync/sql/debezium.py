"""Events of Debezium, as changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from ratesync.errors import CursorExpired
from ratesync.model.change import Change

_MESSAGE = "m"
_TRUNCATE = "t"
_DELETE = "d"
_OPERATIONS = {"c", "r", "u", _DELETE, _MESSAGE, _TRUNCATE}


def read_debezium(value: Mapping[str, Any] | None, *, key: str = "id", fields: Collection[str] = ()) -> Change | None:
    """The change that an event tells of; None if it tells of none.

    Pure: give it the value of a message as the JSON converter wrote it, with or without its schema. A message without a
    value (Kafka's tombstone behind a delete), and one that the host itself put into the log, tell of no change.

    :param key: the column with the record's id. For deletes the table's replica identity must cover it.
    :param fields: columns to pass on, as they are in the event. None by default: the change is then a hint, and the
        record is read. How the event shows numbers and instants depends on the connector's settings.
    :raises CursorExpired: the table was truncated: read all records anew.
    :raises ValueError: it is no event of Debezium, or lacks the id.
    """
    if value is None:
        return None
    payload = value if "op" in value else value.get("payload", value)
    if payload is None:
        return None
    operation = _part(payload, "op")
    if not isinstance(operation, str) or operation not in _OPERATIONS:
        raise ValueError("this is no event of Debezium: `op` is missing or unknown. Is the envelope unwrapped?")
    if operation == _MESSAGE:
        return None
    if operation == _TRUNCATE:
        raise CursorExpired("the table was truncated: read all records anew")
    is_deleted = operation == _DELETE
    side = "before" if is_deleted else "after"
    row = _part(payload, side)
    record_id = _part(row, key)
    if record_id is None:
        raise ValueError(f"the event's `{side}` lacks the id {key!r}. Look at the table's replica identity.")
    told = {name: row[name] for name in fields if name in row}
    return Change(str(record_id), fields=told if fields and not is_deleted else None, is_deleted=is_deleted)


def _part(whole: Any, name: str) -> Any:
    """A value of a JSON object; None if it is none, or has none."""
    return cast("Mapping[str, Any]", whole).get(name) if isinstance(whole, Mapping) else None
