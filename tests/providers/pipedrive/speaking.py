"""Adapters for the fake company."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from ratesync.model.batch import Batch, Reply
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome
from ratesync.providers.pipedrive import PipedriveProvider, token_account
from tests.servers.pipedrive_company import Company
from tests.servers.pipedrive_server import transport

MARK = "d4de1c0fa38b7c5e4fbd1e3a7a0b9d2c8e6f1a90"
SCORE = "0fa38b7c5e4fbd1e3a7a0b9d2c8e6f1a90d4de1c"

_numbers = count(1)


def provider(company: Company, **settings: Any) -> PipedriveProvider:
    """An adapter that reaches the company without a socket."""
    settings.setdefault("transport", transport(company))
    return PipedriveProvider(token_account(company.api_token, "acme"), **settings)


def operation(kind: Kind, record_id: str | None = None, *, resource: str = "persons", **fields: Any) -> Operation:
    """An operation as the engine gives it."""
    identity = f"op-{next(_numbers)}"
    return Operation(
        provider="pipedrive",
        resource=resource,
        kind=kind,
        record_id=record_id,
        fields=fields,
        id=identity,
        idempotency_key=identity,
    )


async def execute(pipedrive: PipedriveProvider, operations: Sequence[Operation]) -> tuple[list[Outcome], Reply]:
    """The outcomes of one batch, in its order, and the whole reply."""
    first = operations[0]
    reply = await pipedrive.execute(Batch(first.lane, first.resource, first.kind, tuple(operations)))
    return [reply[one.id or ""] for one in operations], reply


async def one(pipedrive: PipedriveProvider, kind: Kind, record_id: str | None = None, **fields: Any) -> Outcome:
    """The outcome of an operation that is a batch by itself."""
    (outcome,), _ = await execute(pipedrive, [operation(kind, record_id, **fields)])
    return outcome
