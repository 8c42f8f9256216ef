"""Reading records by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ratesync.errors import InvalidResponse, UnsupportedOperation
from ratesync.http.payload import json_array, json_object
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Outcome, Rejected
from ratesync.model.record import Record
from ratesync.providers.pipedrive.answer import Answer, record_gone
from ratesync.providers.pipedrive.client import Client
from ratesync.providers.pipedrive.page import MOST_ROWS
from ratesync.providers.pipedrive.record import id_of, is_gone, record_of
from ratesync.providers.pipedrive.resource import PipedriveResource
from ratesync.rules.matching import match_rows

MOST_IDS = 100
"""Ids in one request: https://developers.pipedrive.com/docs/api/v1/Persons#getPersons."""


async def read_one(client: Client, resource: PipedriveResource, operation: Operation, key: str | None) -> Outcome:
    """Read one record. One that was deleted is gone, though Pipedrive may still show it for 30 days."""
    path = resource.record_path(operation.record_id)
    answer = await client.ask("GET", path, cost=resource.prices.read)
    if not isinstance(answer.outcome, Applied):
        return answer.outcome
    if is_gone(answer.data):
        return record_gone(operation.record_id)
    if id_of(answer.data) != operation.record_id:
        raise InvalidResponse("the record that was answered is not the one that was asked for")
    return _applied(record_of(answer.data, key))


async def read_many(
    client: Client, resource: PipedriveResource, operations: Sequence[Operation], key: str | None
) -> dict[str, Outcome]:
    """Read up to 100 records in one request, and in more of them those that are missing and may be in the archive.

    Pipedrive leaves out what is gone, or not for this user. So what is missing from whole answers is gone.
    """
    outcomes: dict[str, Outcome] = {}
    good: list[Operation] = []
    for operation in operations:
        try:
            resource.record_path(operation.record_id)
            good.append(operation)
        except UnsupportedOperation as error:
            outcomes[operation.id or ""] = Rejected(str(error), code=type(error).__name__)
    wanted = list(dict.fromkeys(operation.record_id or "" for operation in good))
    if not wanted:
        return outcomes
    rows, failed = await fetch(client, resource, wanted)
    if failed is not None:
        return outcomes | {operation.id or "": failed.outcome for operation in good}
    return outcomes | _told(good, rows, key)


async def fetch(client: Client, resource: PipedriveResource, ids: Sequence[str]) -> tuple[list[Any], Answer | None]:
    """The rows of the records with these ids; and the answer that is no success, if a request came to one.

    A record that leaves the archive between two requests is in neither answer: so what is missing from both is asked
    for once more.
    """
    rows: list[Any] = []
    missing: list[str] = list(ids)
    for feed in resource.listing:
        if not missing:
            break
        params = {"ids": ",".join(missing), "limit": str(MOST_ROWS)}  # more than can come: it is one page
        answer = await client.ask("GET", feed.path, cost=feed.cost, params=params)
        if not isinstance(answer.outcome, Applied):
            return [], answer
        if (json_object(answer.body.get("additional_data")) or {}).get("next_cursor"):
            raise InvalidResponse("the answer to a read by ids goes on on another page")
        data: Any = answer.data
        if not isinstance(data, list):
            raise InvalidResponse("the answer to a read by ids has no list of records")
        rows += json_array(data)
        found = {id_of(row) for row in rows}
        missing = [identity for identity in missing if identity not in found]
    return rows, None


def _told(operations: Sequence[Operation], rows: Iterable[Any], key: str | None) -> dict[str, Outcome]:
    """The outcome that the rows of a whole answer tell for each operation."""

    def read(operation: Operation, row: Any) -> Outcome:
        return record_gone(operation.record_id) if is_gone(row) else _applied(record_of(row, key))

    rows = list(rows)
    shown = {id_of(row) for row in rows}
    first = {operation.record_id: operation for operation in reversed(operations)}
    outcomes = match_rows(
        list(first.values()),
        rows,
        key_of_operation=lambda operation: operation.record_id,
        key_of_row=id_of,
        read=read,
    )
    by_record = {identity: outcomes[operation.id or ""] for identity, operation in first.items()}
    return {
        operation.id or "": by_record[operation.record_id]
        if operation.record_id in shown
        else record_gone(operation.record_id)
        for operation in operations
    }


def _applied(record: Record) -> Applied:
    return Applied(record.record_id, record.version, record)
