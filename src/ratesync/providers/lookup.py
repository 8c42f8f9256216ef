"""What looking a create up may come to at any provider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ratesync.http.payload import json_object
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Unknown
from ratesync.model.record import Record
from ratesync.providers.row import needed_text


def mark_of(operation: Operation) -> str:
    """What a create is known by, where it writes it to a field."""
    return operation.idempotency_key or operation.id or ""


def read_marked(rows: Iterable[Any], mark: str, *, mark_field: str, id_path: str) -> Outcome | None:
    """Whether a create was applied, by all rows that a search for its mark gives. None: it surely was not.

    :raises InvalidResponse: a record has no id.
    """
    records = [json_object(row) or {} for row in rows]
    if any(mark_field not in record for record in records):
        return Unknown(f"the search for a create shows records without {mark_field!r}: so its own cannot be told")
    found = {needed_text(record, id_path) for record in records if record[mark_field] == mark}
    if len(found) > 1:
        return Unknown(f"{len(found)} records have the mark of this create")
    return Applied(found.pop()) if found else None


def another_found(record_id: str, mark: str) -> Conflict:
    """The outcome where a record has what the create is known by, but other values than it wrote.

    It may be an older one, for which the provider has refused the create; or its own, changed since. Asking again would
    not tell.

    :param mark: what it is known by, in words.
    """
    problem = f"there is a record with its {mark}, but with other values than it wrote"
    return Conflict(f"{problem}: a person must look whether it is the one that was made", Record(record_id, {}))
