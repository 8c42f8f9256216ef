"""A provider in memory, with an API's bad habits on request."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import anyio
from attrs import Factory, define, field, frozen

from ratesync.clock import Clock, SystemClock
from ratesync.errors import NotSent, Throttled, Unavailable
from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, Unknown
from ratesync.model.record import Record
from ratesync.testing.faults import Fault, FaultCounts, Faults

_RETRY_AFTER = 1.5


@frozen
class Write:
    """One write that the provider applied."""

    at: float
    connection: str
    resource: str
    record_id: str
    kind: Kind
    operation_id: str
    idempotency_key: str
    fields: Fields


RecordKey = tuple[str, str, str]
"""(connection, resource, record id)."""


@define
class FakeProvider:
    """Keeps records in memory and notes every write; faults and latency as asked.

    What it does depends on its capabilities: it compares versions only if ``conditional_write`` is STRONG, remembers
    idempotency keys only if they are the create identity, and assigns record ids unless the client may choose them.
    """

    name: str = "fake"
    capabilities: Capabilities = Factory(lambda: Capabilities(batch_max=10, create_identity=CreateIdentity.CLIENT_ID))
    faults: Faults = field(factory=Faults, kw_only=True)
    latency: tuple[float, float] = field(default=(0.01, 0.05), kw_only=True)
    """Least and most seconds that a call takes."""
    clock: Clock = field(factory=SystemClock, kw_only=True)
    random: random.Random = field(factory=lambda: random.Random(0), kw_only=True)
    records: dict[RecordKey, Record] = field(factory=dict[RecordKey, Record], init=False)
    writes: list[Write] = field(factory=list[Write], init=False)
    calls: int = field(default=0, init=False)
    lookups: int = field(default=0, init=False)
    most_at_once: int = field(default=0, init=False)
    """Most calls under way at the same time."""
    overlaps: int = field(default=0, init=False)
    """How often two calls touched one record at the same time."""
    arrivals: list[tuple[float, str]] = field(factory=list[tuple[float, str]], init=False)
    """(instant, connection) at which each call reached the provider: when a quota would count it."""
    happened: FaultCounts = field(factory=Counter[Fault], init=False)
    _under_way: list[frozenset[RecordKey]] = field(factory=list[frozenset[RecordKey]], init=False)
    _answers: dict[str, Outcome] = field(factory=dict[str, Outcome], init=False)
    _created_by: dict[str, str] = field(factory=dict[str, str], init=False)
    _versions: int = field(default=0, init=False)

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        """Carry out a batch, or fail in one of the ways asked for."""
        self.calls += 1
        fault = self.faults.of_call(self.clock.now(), self.random)
        if fault is not None:
            self.happened[fault] += 1
        touched = frozenset(_keys(batch))
        if any(touched & other for other in self._under_way):
            self.overlaps += 1
        self._under_way.append(touched)
        self.most_at_once = max(self.most_at_once, len(self._under_way))
        try:
            return await self._serve(batch, fault)
        finally:
            self._under_way.remove(touched)

    async def _serve(self, batch: Batch, fault: Fault | None) -> dict[str, Outcome]:
        least, most = self.latency
        trip = self.random.uniform(least, most) / 2
        await anyio.sleep(trip)
        if fault is not Fault.NOT_SENT:
            self.arrivals.append((self.clock.now(), batch.connection))
        if fault is not None and fault not in {Fault.NOT_SENT, Fault.LOST_ANSWER, Fault.HANG_AFTER, Fault.EXTRA_RESULT}:
            await anyio.sleep(trip)  # a refusal travels back as any answer does
        _fail_before(fault)
        if fault is Fault.HANG:
            await anyio.sleep_forever()
        answer = self._apply(batch)
        if fault is Fault.LOST_ANSWER:
            await anyio.sleep(trip)
            return {identity: Unknown("HTTP 500") for identity in answer}
        if fault is Fault.HANG_AFTER:
            await anyio.sleep_forever()
        if fault is Fault.EXTRA_RESULT:
            answer["nobody-asked"] = Applied()
        await anyio.sleep(trip)
        return answer

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Find a record by the operation that created it."""
        self.lookups += 1
        await anyio.sleep(self.latency[0])
        record_id = self._created_by.get(operation.id or "")
        return None if record_id is None else Applied(record_id=record_id)

    def _apply(self, batch: Batch) -> dict[str, Outcome]:
        answer: dict[str, Outcome] = {}
        for operation in self._shuffled(batch.operations):
            fault = self.faults.of_operation(self.random)
            identity = operation.id or ""
            if fault is not None:
                self.happened[fault] += 1
            if fault is Fault.REJECTED:
                answer[identity] = Rejected("refused by chance", code="422")
                continue
            if fault is not Fault.MISSING_RESULT:
                answer[identity] = self._carry_out(batch.connection, operation)
            elif self.random.random() < 0.5:
                self._carry_out(batch.connection, operation)
        return answer

    def _shuffled(self, operations: Iterable[Operation]) -> list[Operation]:
        # Providers answer in any order; who matches by position is found out.
        shuffled = list(operations)
        self.random.shuffle(shuffled)
        return shuffled

    def _carry_out(self, connection: str, operation: Operation) -> Outcome:
        remembers = self.capabilities.create_identity is CreateIdentity.IDEMPOTENCY_KEY
        key = operation.idempotency_key or ""
        if remembers and key in self._answers:
            return self._answers[key]
        outcome = self._write(connection, operation)
        if remembers:
            self._answers[key] = outcome
        return outcome

    def _write(self, connection: str, operation: Operation) -> Outcome:
        record_id = operation.record_id or self._new_id()
        key = (connection, operation.resource, record_id)
        current = self.records.get(key)
        if operation.kind is Kind.READ:
            return Rejected("no such record", code="404") if current is None else Applied(record=current)
        refusal = self._refusal(operation, current)
        if refusal is not None:
            return refusal
        self.writes.append(
            Write(
                self.clock.now(),
                connection,
                operation.resource,
                record_id,
                operation.kind,
                operation.id or "",
                operation.idempotency_key or "",
                operation.fields,
            )
        )
        if operation.kind is Kind.DELETE:
            del self.records[key]
            return Applied()
        fields = dict(operation.fields) if current is None else {**current.fields, **operation.fields}
        self._versions += 1
        record = self.records[key] = Record(record_id, fields, str(self._versions))
        if operation.kind is Kind.CREATE:
            self._created_by[operation.id or ""] = record_id
        return Applied(record_id=record_id, version=record.version)

    def _refusal(self, operation: Operation, current: Record | None) -> Outcome | None:
        if operation.kind is Kind.CREATE and current is not None:
            return Conflict("a record of this id exists", current)
        if current is None:
            if operation.kind is Kind.DELETE:
                return Applied()
            return Rejected("no such record", code="404") if operation.kind is Kind.UPDATE else None
        strong = self.capabilities.conditional_write is ConditionalWrite.STRONG
        if strong and operation.if_version not in {None, current.version}:
            return Conflict("the record has another version", current)
        return None

    def _new_id(self) -> str:
        return f"r{len(self._created_by) + 1}"


def _keys(batch: Batch) -> Iterable[RecordKey]:
    return (
        (batch.connection, batch.resource, operation.record_id)
        for operation in batch.operations
        if operation.record_id is not None
    )


def _fail_before(fault: Fault | None) -> None:
    match fault:
        case Fault.THROTTLED:
            raise Throttled("429", retry_after=_RETRY_AFTER)
        case Fault.THROTTLED_SILENTLY:
            raise Throttled("429")
        case Fault.UNAVAILABLE:
            raise Unavailable("503")
        case Fault.NOT_SENT:
            raise NotSent("connection refused")
        case Fault.LOST_REQUEST:
            raise ConnectionResetError("connection reset")
        case Fault.CRASH:
            raise SystemExit("the adapter has gone mad")
        case _:
            pass
