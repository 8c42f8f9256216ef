"""Finding values and records in what an API answers."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_object
from ratesync.http.response import Response
from ratesync.model.record import Record

LATEST_SECOND = 100_000_000_000
"""Larger numbers are milliseconds: as seconds they would lie behind the year 5000."""

_MILLIS = 1000


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


def object_in(response: Response) -> dict[str, Any]:
    """The JSON object that the answer must be.

    :raises InvalidResponse: it is none.
    """
    body = json_object(response.json())
    if body is None:
        raise InvalidResponse("the answer is no JSON object: is it the provider that answers, and at this path?")
    return body


def instant_in(value: Any) -> datetime | None:
    """The instant, in UTC, that a text tells as ISO 8601 has it; None if it tells none, or not of which zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def changed_at_in(row: Any, path: str) -> float | None:
    """The instant at a path, in seconds since the epoch; None if it is not told there.

    It is ISO 8601 with a zone, or a number of seconds or, if it is a large one, of milliseconds.
    """
    value = dig(row, path)
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / _MILLIS if value > LATEST_SECOND else float(value)
        return seconds if isfinite(seconds) else None
    moment = instant_in(value)
    return None if moment is None else moment.timestamp()
