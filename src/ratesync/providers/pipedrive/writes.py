"""Carrying operations out one after the other: Pipedrive has no request for many writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ratesync.errors import InvalidOperation, InvalidResponse, ProviderError, UnsupportedOperation
from ratesync.http.payload import json_object
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.protocols.preview import recorded
from ratesync.providers.pipedrive.answer import record_gone
from ratesync.providers.pipedrive.client import Client
from ratesync.providers.pipedrive.reads import read_one
from ratesync.providers.pipedrive.record import id_of, is_gone, record_of
from ratesync.providers.pipedrive.resource import CUSTOM, PipedriveResource
from ratesync.rules.provider_errors import outcome_for_error

LONGEST_MARK = 255
"""Characters that a text field of Pipedrive's takes."""


async def carry_out(
    client: Client,
    resource: PipedriveResource,
    operations: Sequence[Operation],
    key: str | None,
    patience: float,
) -> dict[str, Outcome]:
    """The outcome of each operation, by its id.

    After one that says nothing about its record but about the provider, the rest is left for later. So it is once
    ``patience`` seconds are over.

    :param key: the custom field that creates are marked in.
    """
    outcomes: dict[str, Outcome] = {}
    began_at = client.clock.now()
    rest: Outcome | None = None
    for operation in operations:
        if rest is None and client.clock.now() - began_at > patience:
            rest = RetryLater("not sent: those before it took too long", Cause.NOT_SENT)
        if rest is None:
            outcome = await _outcome(client, resource, operation, key)
            rest = None if recorded() is not None else _for_the_rest(outcome)  # a dry run shows all requests
        else:
            outcome = rest
        outcomes[operation.id or ""] = outcome
    return outcomes


def mark_for(operation: Operation) -> str:
    """What a create is recognised by: its idempotency key, or a digest of one that is too long."""
    mark = operation.idempotency_key or operation.id or ""
    return mark if len(mark) <= LONGEST_MARK else sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()


async def _outcome(client: Client, resource: PipedriveResource, operation: Operation, key: str | None) -> Outcome:
    try:
        if operation.kind is Kind.READ:
            return await read_one(client, resource, operation, key)
        return await _write(client, resource, operation, key)
    except ProviderError as error:
        return outcome_for_error(error)
    except InvalidOperation as error:
        return Rejected(str(error), code=type(error).__name__)


async def _write(client: Client, resource: PipedriveResource, operation: Operation, key: str | None) -> Outcome:
    prices = resource.prices
    match operation.kind:
        case Kind.CREATE:
            if operation.record_id is not None:
                raise UnsupportedOperation("Pipedrive assigns the ids of records", path="record_id")
            body = _marked(operation, key)
            answer = await client.ask("POST", resource.path, cost=prices.write, kind=Kind.CREATE, json=body)
            return _created(answer.data, key) if answer.outcome == Applied() else answer.outcome
        case Kind.UPDATE:
            path = resource.record_path(operation.record_id)
            answer = await client.ask(
                resource.update_method, path, cost=prices.write, kind=Kind.UPDATE, json=dict(operation.fields)
            )
            return _updated(operation, answer.data, key) if answer.outcome == Applied() else answer.outcome
        case Kind.DELETE:
            path = resource.record_path(operation.record_id)
            answer = await client.ask("DELETE", path, cost=prices.delete, kind=Kind.DELETE)
            return answer.outcome
        case _:
            raise UnsupportedOperation("Pipedrive has no upsert", path="kind")


def _created(row: Any, key: str | None) -> Outcome:
    if id_of(row) is None:
        raise InvalidResponse("the answer to a create does not tell the new record's id")
    record = record_of(row, key)
    return Applied(record.record_id, record.version, record)


def _updated(operation: Operation, row: Any, key: str | None) -> Outcome:
    if id_of(row) != operation.record_id:
        raise InvalidResponse("the answer to an update is about another record")
    if is_gone(row):
        return record_gone(operation.record_id)
    record = record_of(row, key)
    return Applied(operation.record_id, record.version, record)


def _marked(operation: Operation, key: str | None) -> Mapping[str, Any]:
    """The fields of a new record, with what it is recognised by."""
    fields = dict(operation.fields)
    if key is None:
        return fields
    return {**fields, CUSTOM: {**(json_object(fields.get(CUSTOM)) or {}), key: mark_for(operation)}}


def _for_the_rest(outcome: Outcome) -> Outcome | None:
    """What becomes of the operations behind one with that outcome; None: they go on."""
    match outcome:
        case RetryLater():
            return outcome
        case Unknown():
            return RetryLater("not sent, as the one before it got no clear answer", Cause.NOT_SENT)
        case _:
            return None
