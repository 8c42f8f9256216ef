"""From the answer to a collection to an outcome for each of its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import GONE, Applied, Outcome, Rejected, Unknown
from ratesync.model.record import Record
from ratesync.providers.salesforce.problem import Problem
from ratesync.providers.salesforce.record import read_record
from ratesync.providers.salesforce.record_id import is_id, plain_id
from ratesync.providers.salesforce.sobject import SObject
from ratesync.rules.matching import match_rows

_ASSIGNED = frozenset({Kind.CREATE, Kind.UPSERT})
"""Kinds whose rows bring an id that we did not send."""


@frozen
class Row:
    """What the answer says of one record."""

    id: str | None
    outcome: Outcome

    @classmethod
    def read(cls, value: Any, kind: Kind) -> Row:
        """The row that a value is. One that cannot be understood leaves it open whether it was carried out."""
        row = json_object(value) or {}
        identity = row.get("id")
        identity = identity if isinstance(identity, str) and is_id(identity) else None
        match row.get("success"):
            case True if identity is not None:
                return cls(identity, Applied(identity if kind in _ASSIGNED else None))
            case False:
                return cls(identity, Problem.read(row.get("errors")).outcome(kind))
            case _:
                return cls(identity, Unknown("Salesforce's answer has a row that cannot be understood"))


def read_saved(kind: Kind, operations: Sequence[Operation], body: Any) -> dict[str, Outcome]:
    """Outcomes by operation id of a collection that was written.

    Salesforce documents that rows come in the order of the request, and failed ones have no id. So that order counts if
    there are as many rows as operations and no id speaks against it. Otherwise only rows with the record's id do.

    :raises InvalidResponse: it is no list.
    """
    if not isinstance(body, list):
        raise InvalidResponse("Salesforce's answer to a collection is no list")
    rows = [Row.read(value, kind) for value in json_array(body)]
    if _is_in_order(kind, operations, rows):
        return {operation.id or "": row.outcome for operation, row in zip(operations, rows, strict=True)}
    is_named = kind not in _ASSIGNED
    return match_rows(
        operations,
        [row for row in rows if row.id is not None],
        key_of_operation=lambda operation: plain_id(operation.record_id or "") if is_named else None,
        key_of_row=lambda row: plain_id(row.id),
        read=lambda _, row: row.outcome,
    )


def _is_in_order(kind: Kind, operations: Sequence[Operation], rows: Sequence[Row]) -> bool:
    ids = [plain_id(row.id) for row in rows if row.id is not None]
    if len(rows) != len(operations) or len(set(ids)) < len(ids):
        return False
    return kind in _ASSIGNED or all(
        row.id is None or plain_id(row.id) == plain_id(operation.record_id or "")
        for operation, row in zip(operations, rows, strict=True)
    )


def read_fetched(
    operations: Sequence[Operation], rows: Sequence[Any], described: SObject, *, is_whole: bool
) -> dict[str, Outcome]:
    """Outcomes by operation id of records that were read by their ids.

    :param is_whole: the answer has a row, or null, for every record asked for; or it is a query's only page. So what is
        not among them is not there.
    """
    found = [read_record(row, described) for row in rows]
    records = [record for record in found if record is not None]
    is_clear = is_whole and all(row is None or record is not None for row, record in zip(rows, found, strict=True))
    by_id: dict[str, list[Record]] = {}
    for record in records:
        by_id.setdefault(plain_id(record.record_id), []).append(record)
    is_clear = is_clear and len(by_id) == len(records)
    outcomes: dict[str, Outcome] = {}
    for operation in operations:
        same = by_id.get(plain_id(operation.record_id or ""), [])
        if any(other != same[0] for other in same):
            outcomes[operation.id or ""] = Unknown("Salesforce's answer has rows that contradict each other")
        elif same:
            outcomes[operation.id or ""] = Applied(version=same[0].version, record=same[0])
        elif is_clear:
            outcomes[operation.id or ""] = Rejected("Salesforce has no such record, or does not show it", GONE)
        else:
            outcomes[operation.id or ""] = Unknown("Salesforce's answer has no row for this operation")
    return outcomes
