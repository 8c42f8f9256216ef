"""Finding values and records in what an API answers."""

from __future__ import annotations

from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_object
from ratesync.model.record import Record


def dig(value: Any, path: str | None) -> Any:
    """The value at a dotted path through objects; None where the path leads nowhere, or is None."""
    if path is None:
        return None
    for name in path.split("."):
        value = (json_object(value) or {}).get(name)
    return value


def text_at(value: Any, path: str | None) -> str | None:
    """The id or version at a dotted path as text: providers write them as strings or as whole numbers. None if none."""
    found = dig(value, path)
    if isinstance(found, str) or (isinstance(found, int) and not isinstance(found, bool)):
        return str(found) or None
    return None


def needed_text(value: Any, path: str) -> str:
    """The id or version at a dotted path as text.

    :raises InvalidResponse: there is none.
    """
    found = text_at(value, path)
    if found is None:
        raise InvalidResponse(f"the answer has no id, version or the like at {path!r}")
    return found


def record_in(row: Any, id_path: str = "id", version_path: str | None = None, version_form: str = "{}") -> Record:
    """A row of a listing or feed as the record it is.

    :param version_form: what becomes of the version, as in ``'"{}"'``.
    :raises InvalidResponse: it is no object, or has no id.
    """
    fields, record_id, version = json_object(row), text_at(row, id_path), text_at(row, version_path)
    if fields is None or record_id is None:
        raise InvalidResponse(f"a row of the answer is no record: it has no id at {id_path!r}")
    return Record(record_id, fields, None if version is None else version_form.format(version))
