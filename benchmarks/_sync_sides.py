"""Both sides of the benchmark of two-way sync: they count what they are asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx
from attrs import define, field

from ratesync.memory import MemoryStateStore
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity, DeleteFeed
from ratesync.model.change import Change, ChangePage, RecordPage
from ratesync.model.difference import View
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected
from ratesync.model.record import Record
from ratesync.model.stored import Stored, Write

BATCH = 100


def contact(number: int, city: str = "London", phone: str = "+44 20 7946 0000") -> dict[str, Any]:
    """A small record."""
    return {"email": f"ada{number}@example.org", "name": "Ada Lovelace", "city": city, "phone": phone, "active": True}


@define(eq=False)
class Crm:
    """A provider in memory: versions, ids of the client's choice, a hundred operations in a call, a feed of changes.

    With ``lists`` its feed tells no deletions, so that each pass must list all of it.
    """

    lists: bool = False
    name: str = "crm"
    done: Counter[str] = field(factory=Counter[str])
    """Calls, pages, reads and writes."""
    _kept: MemoryRecords = field(factory=MemoryRecords)

    @property
    def capabilities(self) -> Capabilities:
        """All that makes a sync safe."""
        return Capabilities(
            batch_max=BATCH,
            conditional_write=ConditionalWrite.STRONG,
            create_identity=CreateIdentity.CLIENT_ID,
            deletes=DeleteFeed.LISTING if self.lists else DeleteFeed.TOMBSTONES,
        )

    @property
    def records(self) -> Mapping[str, Record]:
        """All records by id."""
        return self._kept.records

    def change_all(self, **fields: Any) -> None:
        """Somebody changes every record."""
        for record_id in list(self.records):
            self._kept.change(record_id, **fields)

    def put(self, record_id: str, fields: Fields) -> Record:
        """Somebody makes a record."""
        return self._kept.put(record_id, fields)

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        """One call."""
        self.done["calls"] += 1
        return {operation.id or "": self._carry_out(operation) for operation in batch.operations}

    def _carry_out(self, operation: Operation) -> Outcome:
        record_id = operation.record_id or ""
        record = self.records.get(record_id)
        self.done["reads" if operation.kind is Kind.READ else "writes"] += 1
        if operation.kind is Kind.CREATE:
            made = None if record else self.put(record_id, operation.fields)
            return Conflict("there is one") if made is None else Applied(record_id, made.version, made)
        if record is None:
            return Rejected("no such record", "404")
        if operation.kind is Kind.READ:
            return Applied(record=record)
        if operation.if_version not in {None, record.version}:
            return Conflict("another version")
        record = self._kept.change(record_id, **operation.fields)
        return Applied(record_id, record.version, record)

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The feed."""
        self.done["pages"] += 1
        return await self._kept.changes(cursor, limit=limit)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """All records, in the order in which they were changed."""
        found = await self.pull_changes(connection, resource, page, limit=limit)
        records = [self.records[change.record_id] for change in found.changes if not change.is_deleted]
        return RecordPage(tuple(records), found.cursor if found.has_more else None)


@define(eq=False)
class Ours(MemoryRecords):
    """The host's records, in memory."""

    done: Counter[str] = field(factory=Counter[str], kw_only=True)

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """The feed."""
        self.done["pages"] += 1
        return await MemoryRecords.changes(self, cursor, limit=limit)

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Records by id."""
        self.done["reads"] += len(record_ids)
        return await MemoryRecords.read(self, record_ids)

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """One write."""
        self.done["writes"] += 1
        return await MemoryRecords.apply(self, record_id, patch, if_version=if_version, op_id=op_id)


class CountedState(MemoryStateStore):
    """A state store in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.done: Counter[str] = Counter()

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """Values by key."""
        self.done["loads"] += 1
        return await super().load(keys)

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """All writes or none."""
        self.done["commits"] += 1
        self.done["keys written"] += len(writes)
        return await super().commit(writes)


@define(eq=False)
class Formula:
    """A side whose records are computed when they are asked for, so that they take no memory. Both sides have the same.

    Nothing is to be written, then.
    """

    count: int
    """How many records there are."""

    def _record(self, number: int) -> Record:
        return Record(f"r{number}", contact(number), "1")

    def _some(self, numbers: Iterable[int]) -> list[Record]:
        return [self._record(number) for number in numbers if number < self.count]

    def _with_emails(self, values: Sequence[Any]) -> list[Record]:
        return self._some(int(str(value).removeprefix("ada").removesuffix("@example.org")) for value in values)

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """All records, and then no more."""
        start = int(cursor or 0)
        records = self._some(range(start, start + limit))
        changes = tuple(Change(record.record_id, record.version, record.fields) for record in records)
        return ChangePage(changes, str(start + len(changes)), start + len(changes) < self.count)

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Records by id."""
        return {record.record_id: record for record in self._some(int(record_id[1:]) for record_id in record_ids)}


class FormulaRecords(Formula):
    """On the host's side."""

    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        """By address."""
        return self._with_emails(values)

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """Nothing is to be written."""
        raise AssertionError(f"{record_id}: both sides are the same")

    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        """Nothing is to be written."""
        raise AssertionError(f"{record_id}: both sides are the same")


class FormulaCrm(Formula):
    """At a provider that must be listed in each pass."""

    name = "crm"
    capabilities = Crm(lists=True).capabilities

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The feed."""
        return await self.changes(cursor, limit=limit)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """All records."""
        start = int(page or 0)
        records = self._some(range(start, start + limit))
        return RecordPage(tuple(records), str(start + limit) if start + limit < self.count else None)

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """By address."""
        return RecordPage(tuple(self._with_emails(values)))

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        """Reads only."""
        assert all(operation.kind is Kind.READ for operation in batch.operations)
        found = await self.read([operation.record_id or "" for operation in batch.operations])
        return {operation.id or "": Applied(record=found[operation.record_id or ""]) for operation in batch.operations}


class CountingTransport(httpx.AsyncHTTPTransport):
    """Counts requests to a Kinto, and what is in its batches."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self.done: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.done["calls"] += 1
        if request.url.path.endswith("/batch"):
            self.done.update(each["method"] for each in json.loads(request.content)["requests"])
        return await super().handle_async_request(request)
