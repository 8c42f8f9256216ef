"""Finding a record, its id and its version in what a REST API answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import evolve

from ratesync.errors import InvalidResponse
from ratesync.http.outcome import NOT_FOUND
from ratesync.http.payload import json_object
from ratesync.http.response import Response
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import NO_SUCH_PAGE, Applied, Conflict, Outcome, Rejected
from ratesync.model.record import Record
from ratesync.providers.resource import Resource
from ratesync.providers.row import dig, text_at

_ASSIGNED = frozenset({Kind.CREATE, Kind.UPSERT})
"""Kinds after which the record's id may be news."""


def completed(outcome: Outcome, response: Response, operation: Operation, resource: Resource) -> Outcome:
    """The outcome that a status tells, with what only the body tells.

    :raises InvalidResponse: as :func:`read_applied` does.
    """
    match outcome:
        case Applied() if response.is_success:
            return read_applied(response, operation, resource, outcome.version)
        case Conflict():
            return evolve(outcome, current=read_current(response, operation, resource))
        case Rejected(code=code) if code == NO_SUCH_PAGE:
            return outcome
        case Rejected() if response.status in NOT_FOUND and operation.record_id is not None:
            # Before the provider's own code: by the status a sync knows that a record is gone.
            return evolve(outcome, code=str(response.status))
        case _:
            return outcome


def read_applied(response: Response, operation: Operation, resource: Resource, etag: str | None) -> Applied:
    """What a success (2xx) says. A write may be answered with nothing; a read must be answered with the record.

    :raises InvalidResponse: the body is not JSON, or a read's has no record in it.
    """
    fields = _record_fields(response, resource)
    version = resource.version_in(fields) or etag
    record_id = text_at(fields, resource.id_path)
    if operation.kind is Kind.READ:
        if fields is None:
            raise InvalidResponse("the answer to a read holds no record: is `envelope` right?")
        return Applied(version=version, record=_record(operation, resource, fields, version))
    record = None
    if fields is not None and resource.answers_with_record and operation.kind is not Kind.DELETE:
        record = _record(operation, resource, fields, version)
    if operation.kind in _ASSIGNED:
        return Applied(record_id or _named_by_location(response) or operation.record_id, version, record)
    return Applied(version=version, record=record)


def read_current(response: Response, operation: Operation, resource: Resource) -> Record | None:
    """The record as it is, where the answer to a conflict tells it."""
    if resource.current_path is None:
        return None
    try:
        fields = json_object(dig(response.json(), resource.current_path))
    except InvalidResponse:
        return None
    if fields is None:
        return None
    version = resource.version_in(fields) or response.headers.get("etag")
    return _record(operation, resource, fields, version)


def _record(operation: Operation, resource: Resource, fields: dict[str, Any], version: str | None) -> Record:
    record_id = text_at(fields, resource.id_path) or operation.record_id or ""
    return Record(record_id, resource.shown(fields), version, resource.changed_at_in(fields))


def _record_fields(response: Response, resource: Resource) -> dict[str, Any] | None:
    if not response.body:
        return None
    body = json_object(response.json())
    if body is None or resource.envelope is None:
        return body
    return json_object(body.get(resource.envelope))


def _named_by_location(response: Response) -> str | None:
    """The id in a Location header: its last segment."""
    path = urlsplit(response.headers.get("location", "")).path
    return unquote(path.rstrip("/").rpartition("/")[2]) or None
