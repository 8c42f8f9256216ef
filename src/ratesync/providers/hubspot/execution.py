"""Carrying out the operations of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from attrs import evolve, frozen

from ratesync.errors import InvalidPayload, InvalidResponse
from ratesync.http.bisection import bisect_refused
from ratesync.http.payload import encode_json
from ratesync.model.batch import Batch
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater
from ratesync.model.record import Record
from ratesync.providers.client import Client
from ratesync.providers.hubspot.answer import read_whole
from ratesync.providers.hubspot.batch_answer import BatchAnswer
from ratesync.providers.hubspot.object_type import ObjectType
from ratesync.providers.hubspot.properties import written
from ratesync.providers.hubspot.record import read_record
from ratesync.providers.hubspot.requests import many, one
from ratesync.providers.row import object_in
from ratesync.rules.masking import mask_outcome
from ratesync.rules.provider_errors import error_for_outcome

MOST_CALLS = 20
"""Calls for one batch of which HubSpot refuses the whole, to find the operations that it refuses it for."""


@frozen
class Execution:
    """Carries out operations of one kind on one resource."""

    client: Client
    resource: str
    described: ObjectType

    async def run(self, batch: Batch) -> dict[str, Outcome]:
        """Outcomes by operation id. Raises nothing for a call that fails."""
        outcomes: dict[str, Outcome] = {}
        askable: list[Operation] = []
        for operation in batch.operations:
            refused = self._refused(operation)
            if refused is None:
                askable.append(operation)
            else:
                outcomes[operation.id or ""] = refused
        for by_value, operations in self._parts(batch.kind, askable):

            async def send(part: Batch, *, by_value: bool = by_value) -> Mapping[str, Outcome]:
                return await self._send(part, by_value=by_value)

            part = evolve(batch, operations=tuple(operations))
            outcomes |= await bisect_refused(part, send, max_calls=MOST_CALLS)
        return outcomes

    def _parts(self, kind: Kind, operations: Sequence[Operation]) -> list[tuple[bool, list[Operation]]]:
        """The operations of each call. Reads by id and by value cannot go together."""
        by_value = [operation for operation in operations if kind is Kind.READ and not is_id(operation.record_id)]
        by_id = [operation for operation in operations if operation not in by_value]
        return [(named, part) for named, part in ((False, by_id), (True, by_value)) if part]

    def _refused(self, operation: Operation) -> Rejected | None:
        """Why the operation cannot be asked for; None if it can."""
        problem = _naming_problem(operation, self.described.unique_property)
        if problem is not None:
            return Rejected(problem, code="record_id")
        try:
            encode_json([operation.record_id, written(operation.fields)])
        except InvalidPayload as error:
            return Rejected(str(error), code=type(error).__name__)
        return None

    async def _send(self, batch: Batch, *, by_value: bool) -> Mapping[str, Outcome]:
        """Make one call. Raises for what holds for it as a whole and may pass, so that no other is made after it."""
        if len(batch.operations) == 1 and batch.kind is not Kind.UPSERT and not by_value:
            return await self._send_one(batch.operations[0])
        request = many(self.resource, self.described, batch.kind, batch.operations, by_value=by_value)
        response = await self.client.send(request)
        whole, _ = read_whole(response, batch.kind, self.client.clock.now())
        if isinstance(whole, RetryLater):
            raise error_for_outcome(whole)
        if isinstance(whole, Conflict) and len(batch.operations) > 1:
            # Which of them is in conflict is not told, so they are tried apart.
            whole = Rejected(whole.reason)
        if not isinstance(whole, Applied) or response.status == HTTPStatus.NO_CONTENT:
            if isinstance(whole, Applied) and batch.kind is not Kind.DELETE:
                raise InvalidResponse("HubSpot's answer to a batch is empty")
            return batch.all_as(whole)
        answer = BatchAnswer(batch.kind, batch.operations, self.described.unique_property, by_value)
        outcomes = answer.read(object_in(response))
        return {identity: mask_outcome(outcome, response.secrets) for identity, outcome in outcomes.items()}

    async def _send_one(self, operation: Operation) -> Mapping[str, Outcome]:
        response = await self.client.send(one(self.resource, self.described, operation))
        whole, _ = read_whole(response, operation.kind, self.client.clock.now())
        if isinstance(whole, RetryLater):
            raise error_for_outcome(whole)
        if isinstance(whole, Applied) and operation.kind is not Kind.DELETE:
            whole = _applied(operation, read_record(object_in(response)))
        elif isinstance(whole, Applied) and response.is_success and response.status != HTTPStatus.NO_CONTENT:
            raise InvalidResponse("HubSpot's answer to a delete is not an empty one: somebody else answered")
        return {operation.id or "": whole}


def is_id(record_id: str | None) -> bool:
    """Tell whether it is one of HubSpot's ids: a whole number."""
    return record_id is not None and record_id.isascii() and record_id.isdecimal()


def _naming_problem(operation: Operation, unique: str | None) -> str | None:
    """What is wrong with how the operation names its record; None: nothing."""
    kind, record_id = operation.kind, operation.record_id
    if kind is Kind.CREATE:
        return None if record_id is None else "HubSpot assigns the ids of new records: leave record_id out"
    if kind is Kind.UPSERT and unique is None:
        return "an upsert needs a unique_property of the object type, whose value is its record_id"
    if is_id(record_id) or (record_id and unique is not None and kind in {Kind.READ, Kind.UPSERT}):
        return None
    return "record_id is not one of HubSpot's ids, which are whole numbers"


def _applied(operation: Operation, record: Record | None) -> Outcome:
    """What a success says with the record that it answers: under another id if it was merged into another.

    :raises InvalidResponse: there is none: then it was not HubSpot that answered.
    """
    if record is None:
        raise InvalidResponse("HubSpot's answer is no record")
    if operation.kind is Kind.CREATE:
        return Applied(record.record_id, record.version)
    if operation.kind is Kind.READ:
        return Applied(version=record.version, record=record)
    return Applied(version=record.version)
