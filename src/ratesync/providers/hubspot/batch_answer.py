"""From the answer to a batch to an outcome for each of its operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import frozen

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Outcome
from ratesync.model.record import Record
from ratesync.providers.hubspot.likeness import match_created
from ratesync.providers.hubspot.problem import Problem
from ratesync.providers.hubspot.properties import plain, written
from ratesync.providers.hubspot.record import properties_of, read_record
from ratesync.rules.matching import match_rows


class Row(NamedTuple):
    """What the answer says of one operation."""

    owner: str | None
    """The operation's id; None if it cannot be told."""
    outcome: Outcome


@frozen
class BatchAnswer:
    """What was asked, to be matched with what comes back.

    Results come in any order, also fewer or more than was asked for. They are matched by the ids that we gave the
    inputs, where HubSpot repeats them; by the record's id; by the unique property; and created ones by what was
    written.
    """

    kind: Kind
    operations: Sequence[Operation]
    unique_property: str | None = None
    by_value: bool = False
    """The records were named by values of the unique property."""

    def read(self, body: Any) -> dict[str, Outcome]:
        """Outcomes by operation id.

        :raises InvalidResponse: it is no answer to a batch.
        """
        answer = json_object(body)
        if answer is None or not isinstance(answer.get("results"), list):
            raise InvalidResponse("HubSpot's answer to a batch has no list of results")
        problems = [Problem.read(error) for error in json_array(answer.get("errors"))]
        rows = [Row(owner, problem.outcome(self.kind)) for problem in problems for owner in self._about(problem)]
        ownerless = [problem for problem in problems if not self._about(problem)]
        found = [(row, read_record(row)) for row in json_array(answer["results"])]
        records = [(json_object(row) or {}, record) for row, record in found if record is not None]
        named, unnamed = self._named(records)
        rows += named
        is_clear = not ownerless and len(records) == len(found)
        rows += self._likely(unnamed, rows, is_clear=is_clear)
        loose = [problem for problem in ownerless if problem.names_nobody]
        rows += self._remaining(rows, loose, leftover=len(found) > _known(rows, Applied))
        return match_rows(
            self.operations,
            rows,
            key_of_operation=lambda operation: operation.id,
            key_of_row=lambda row: row.owner,
            read=lambda _, row: row.outcome,
        )

    def _about(self, problem: Problem) -> set[str]:
        """The operations that an error is about."""
        owners = problem.traces & {operation.id or "" for operation in self.operations}
        return {*owners, *(owner for name in problem.ids for owner in self._owners(name))}

    def _named(self, records: Iterable[tuple[Mapping[str, Any], Record]]) -> tuple[list[Row], list[Record]]:
        """What the results say that tell whose they are, and the records of the others."""
        rows: list[Row] = []
        unnamed: list[Record] = []
        identities = {operation.id for operation in self.operations}
        for row, record in records:
            trace = row.get("objectWriteTraceId")
            owners = [trace] if isinstance(trace, str) and trace in identities else self._owners_of(record)
            rows += [Row(owner, self._applied(record)) for owner in owners]
            if not owners:
                unnamed.append(record)
        return rows, unnamed

    def _likely(self, records: Sequence[Record], rows: Sequence[Row], *, is_clear: bool) -> list[Row]:
        """Records that do not tell whose they are: created ones that have what an operation wrote, or the last one.

        :param is_clear: nothing else in the answer is hard to understand.
        """
        known = {row.owner for row in rows}
        left = [operation for operation in self.operations if operation.id not in known]
        if is_clear and len(left) == len(records) == 1 and (self._is_by_value or self.kind is Kind.CREATE):
            return [Row(left[0].id, self._applied(records[0]))]
        if self.kind is not Kind.CREATE:
            return []
        sent = {operation.id or "": written(operation.fields) for operation in left}
        return [Row(owner, self._applied(record)) for owner, record in match_created(sent, records).items()]

    def _remaining(self, rows: Sequence[Row], loose: Sequence[Problem], *, leftover: bool) -> list[Row]:
        """The operations that nothing was said of, if a single error is left that can only be about them."""
        if len(loose) != 1 or leftover:
            return []
        known = {row.owner for row in rows}
        left = [operation.id for operation in self.operations if operation.id not in known]
        return [Row(identity, loose[0].outcome(self.kind)) for identity in left]

    def _owners(self, name: str) -> list[str]:
        """The operations that named their record so. Of writes at most one: two could not be told apart."""
        if self.kind is Kind.CREATE:
            return []
        wanted = plain(name) if self._is_by_value else name
        owners = [operation.id or "" for operation in self.operations if self._name(operation) == wanted]
        return owners if len(owners) == 1 or self.kind in {Kind.READ, Kind.DELETE} else []

    def _owners_of(self, record: Record) -> list[str]:
        if self.kind is Kind.CREATE or self._is_by_value:
            value = properties_of(record).get(self.unique_property or "")
            return self._owners_by_value(value)
        return self._owners(record.record_id)

    def _owners_by_value(self, value: Any) -> list[str]:
        wanted = plain(value)
        if wanted is None:
            return []
        if self.kind is not Kind.CREATE:
            return self._owners(wanted)
        owners = [operation.id or "" for operation in self.operations if self._unique_value(operation) == wanted]
        return owners if len(owners) == 1 else []

    @property
    def _is_by_value(self) -> bool:
        return self.by_value or self.kind is Kind.UPSERT

    def _name(self, operation: Operation) -> str | None:
        return plain(operation.record_id) if self._is_by_value else operation.record_id

    def _unique_value(self, operation: Operation) -> str | None:
        return plain(written(operation.fields).get(self.unique_property or ""))

    def _applied(self, record: Record) -> Outcome:
        if self.kind is Kind.READ:
            return Applied(version=record.version, record=record)
        if self.kind is Kind.UPDATE:
            return Applied(version=record.version)
        return Applied(record.record_id, record.version)


def _known(rows: Iterable[Row], kind: type[Outcome]) -> int:
    return sum(isinstance(row.outcome, kind) for row in rows)
