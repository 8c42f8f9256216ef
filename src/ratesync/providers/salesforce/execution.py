"""Carrying out the operations of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from attrs import evolve, frozen

from ratesync.errors import InvalidResponse, ProviderError
from ratesync.http.bisection import bisect_refused
from ratesync.http.embedded import embedded_response
from ratesync.http.payload import json_array, json_object
from ratesync.http.response import Response
from ratesync.model.batch import Batch
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.protocols.preview import recorded
from ratesync.providers.client import Client
from ratesync.providers.row import object_in
from ratesync.providers.salesforce.answer import read_whole
from ratesync.providers.salesforce.collection import Row, read_fetched, read_saved
from ratesync.providers.salesforce.objection import objection_to
from ratesync.providers.salesforce.record import read_record, read_rows
from ratesync.providers.salesforce.record_id import is_id, plain_id, plain_value
from ratesync.providers.salesforce.requests import BATCH_MAX, COMPOSITE_MAX, many, one, read_by_values
from ratesync.providers.salesforce.sobject import SObject
from ratesync.rules.masking import mask_outcome
from ratesync.rules.provider_errors import error_for_outcome, outcome_for_error

MOST_CALLS = 20
"""Calls for one batch of which Salesforce refuses the whole, to find the operations that it refuses it for."""

_OF_ALL = frozenset({"INVALID_TYPE", "NOT_FOUND"})
"""Codes of a refusal that all operations of a batch share: their record type is wrong."""
_ANOTHER = RetryLater("another operation of the same call is on the same record", Cause.UNAVAILABLE)


@frozen
class Execution:
    """Carries out operations of one kind on one resource."""

    client: Client
    name: str
    described: SObject

    async def run(self, batch: Batch) -> dict[str, Outcome]:
        """Outcomes by operation id. Raises nothing for a call that fails."""
        outcomes: dict[str, Outcome] = {}
        askable: list[Operation] = []
        seen: set[str] = set()
        for operation in batch.operations:
            named = _named(operation)
            refused = objection_to(operation, self.described) or (_ANOTHER if named in seen else None)
            if refused is None:
                askable.append(operation)
                seen |= set() if named is None else {named}
            else:
                outcomes[operation.id or ""] = refused
        parts = self._parts(batch.kind, askable)
        for place, operations in enumerate(parts):
            try:
                outcomes |= await self._carry_out(evolve(batch, operations=tuple(operations)))
            except ProviderError as error:
                # Only reads have several parts. No other call is made after one that failed, but a dry run shows all.
                failed = parts[place:] if recorded() is None else [operations]
                left = (operation.id or "" for part in failed for operation in part)
                outcomes |= dict.fromkeys(left, outcome_for_error(error))
                if recorded() is None:
                    break
        return outcomes

    def _parts(self, kind: Kind, operations: Sequence[Operation]) -> list[Sequence[Operation]]:
        """The operations of each call. Reads by id and by value cannot go together."""
        is_read = kind is Kind.READ
        by_id = [operation for operation in operations if not is_read or is_id(operation.record_id)]
        by_value = [operation for operation in operations if is_read and not is_id(operation.record_id)]
        sized = ((by_id, BATCH_MAX), (by_value, COMPOSITE_MAX))
        return [part[first : first + size] for part, size in sized for first in range(0, len(part), size)]

    async def _carry_out(self, part: Batch) -> dict[str, Outcome]:
        """Make the call of a part. Where Salesforce refuses all for some, those are found by halves.

        :raises ProviderError: the first call failed.
        """
        first = await self._send(part)
        of_all = _OF_ALL | {"INVALID_FIELD"} if part.kind is Kind.READ else _OF_ALL  # all ask for the same fields
        if any(_code(outcome) in of_all for outcome in first.values()):
            return dict(first)

        async def send(batch: Batch) -> Mapping[str, Outcome]:
            return first if batch is part else await self._send(batch)

        return await bisect_refused(part, send, max_calls=MOST_CALLS)

    async def _send(self, batch: Batch) -> Mapping[str, Outcome]:
        """Make one call. Raises for what holds for it as a whole and may pass, so that no other is made after it."""
        operations = batch.operations
        if batch.kind is Kind.READ and not is_id(operations[0].record_id) and len(operations) > 1:
            return await self._read_by_values(batch)
        if len(operations) == 1 and batch.kind is not Kind.DELETE:
            return {operations[0].id or "": await self._send_one(operations[0])}
        # Deletes always go as a collection: its rows tell a record that is gone from a type that there is not.
        response = await self.client.send(many(self.name, self.described, batch.kind, operations))
        # As of a create: what is not found here is the record type, and not a record.
        whole = self._whole(response, Kind.CREATE)
        if not isinstance(whole, Applied):
            return batch.all_as(whole)
        if batch.kind is not Kind.READ:
            saved = read_saved(batch.kind, operations, response.json())
            return {identity: mask_outcome(outcome, response.secrets) for identity, outcome in saved.items()}
        return self._read_fetched(operations, response)

    def _read_fetched(self, operations: Sequence[Operation], response: Response) -> dict[str, Outcome]:
        asked = len({plain_id(operation.record_id or "") for operation in operations})
        if not self.described.asked:
            body = object_in(response)
            return read_fetched(operations, read_rows(body), self.described, is_whole=body["done"] is True)
        body = response.json()
        if not isinstance(body, list):
            raise InvalidResponse("Salesforce's answer to a read of many is no list")
        rows = json_array(body)
        return read_fetched(operations, rows, self.described, is_whole=len(rows) == asked)

    async def _read_by_values(self, batch: Batch) -> dict[str, Outcome]:
        request = read_by_values(self.name, self.described, self.client.path, batch.operations)
        response = await self.client.send(request)
        whole = self._whole(response, Kind.CREATE)
        if not isinstance(whole, Applied):
            return batch.all_as(whole)
        rows = [json_object(row) or {} for row in json_array(object_in(response).get("compositeResponse"))]
        outcomes: dict[str, Outcome] = {}
        for place, operation in enumerate(batch.operations):
            found = [row for row in rows if row.get("referenceId") == f"r{place}"]
            outcomes[operation.id or ""] = self._inner(operation, found, response)
        return outcomes

    def _inner(self, operation: Operation, found: Sequence[Mapping[str, Any]], within: Response) -> Outcome:
        """What the rows with the operation's reference say of it."""
        if len(found) != 1:
            return Unknown("Salesforce's answer does not have one row for this operation")
        try:
            response = embedded_response(found[0], within, status="httpStatusCode", headers="httpHeaders")
            return self._applied(operation, response, read_whole(response, Kind.READ, self._now))
        except ProviderError as error:
            return outcome_for_error(error)

    async def _send_one(self, operation: Operation) -> Outcome:
        response = await self.client.send(one(self.name, self.described, operation))
        return self._applied(operation, response, self._whole(response, operation.kind))

    def _whole(self, response: Response, kind: Kind) -> Outcome:
        """What an answer says of all of its call.

        :raises ProviderError: something that may pass.
        """
        outcome = read_whole(response, kind, self._now)
        if isinstance(outcome, RetryLater):
            raise error_for_outcome(outcome)
        return outcome

    @property
    def _now(self) -> float:
        return self.client.clock.now()

    def _applied(self, operation: Operation, response: Response, outcome: Outcome) -> Outcome:
        """The outcome of a call for one operation, with what a success tells besides.

        :raises InvalidResponse: it is not what Salesforce answers then: somebody else did.
        """
        if not isinstance(outcome, Applied):
            return outcome
        if operation.kind is Kind.READ:
            record = read_record(response.json(), self.described)
            if record is None:
                raise InvalidResponse("Salesforce's answer to a read is no record")
            return Applied(version=record.version, record=record)
        if response.status == HTTPStatus.NO_CONTENT and operation.kind is not Kind.CREATE:
            return Applied()
        if operation.kind is Kind.UPDATE:
            raise InvalidResponse("Salesforce's answer to an update is not an empty one: somebody else answered")
        return mask_outcome(Row.read(response.json(), operation.kind).outcome, response.secrets)


def _code(outcome: Outcome) -> str | None:
    return outcome.code if isinstance(outcome, Rejected) else None


def _named(operation: Operation) -> str | None:
    """What must differ among the writes of one call; None for what need not."""
    if operation.kind in {Kind.CREATE, Kind.READ} or operation.record_id is None:
        return None
    return plain_value(operation.record_id) if operation.kind is Kind.UPSERT else plain_id(operation.record_id)
