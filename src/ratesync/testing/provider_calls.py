"""Calling an adapter in its conformance suite, and looking hard at what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from itertools import count

from attrs import evolve

from ratesync.model.batch import Batch
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.protocols import ProviderClient

Sample = Callable[[Kind], Awaitable[Operation]]
"""Gives an operation of a kind that the provider can carry out now: each time another record, with an id of its own."""

_numbers = count(1)
_OUTCOMES = (Applied, Conflict, RetryLater, Rejected, Unknown)


async def execute(provider: ProviderClient, *operations: Operation) -> dict[str, Outcome]:
    """Carry out one batch: each operation of it has an outcome, nobody else has, and the batch is left as it was."""
    first = operations[0]
    batch = Batch(first.lane, first.resource, first.kind, operations)
    before = deepcopy(operations)
    answer = await provider.execute(batch)
    assert isinstance(answer, Mapping), "execute gives outcomes by operation id"
    assert set(answer) == {operation.id for operation in operations}, "one outcome for each operation, by its id"
    assert all(isinstance(outcome, _OUTCOMES) for outcome in answer.values()), "every outcome is one of the five"
    assert batch.operations == before, "an adapter does not change what it is given"
    return dict(answer)


async def outcome_of(provider: ProviderClient, operation: Operation) -> Outcome:
    """The outcome of an operation that is a batch by itself."""
    return (await execute(provider, operation))[operation.id or ""]


async def applied(provider: ProviderClient, operation: Operation) -> Applied:
    """Carry an operation out that is sure to work."""
    outcome = await outcome_of(provider, operation)
    assert isinstance(outcome, Applied), f"{operation.kind} of a sample came to {outcome}"
    return outcome


async def read(provider: ProviderClient, of: Operation, record_id: str | None = None) -> Record:
    """The record that an operation is about, as the provider holds it now."""
    outcome = await applied(provider, same_record(of, Kind.READ, record_id))
    assert outcome.record is not None, "a read that was applied has the record"
    return outcome.record


def same_record(operation: Operation, kind: Kind, record_id: str | None = None) -> Operation:
    """An operation of another kind on the same record."""
    return again(evolve(operation, kind=kind, fields={}, record_id=record_id or operation.record_id))


def again(operation: Operation, *, if_version: str | None = None) -> Operation:
    """The same intent as an operation of its own: another id, another idempotency key."""
    identity = f"{operation.id}-{next(_numbers)}"
    return evolve(operation, id=identity, idempotency_key=identity, if_version=if_version)
