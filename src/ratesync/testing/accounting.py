"""Accounting for every operation after a run: what a strict auditor would look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from ratesync.codec import decode_outcome
from ratesync.model.operation import Fields, Kind, Operation, OperationState
from ratesync.model.outcome import Applied, Unknown
from ratesync.model.quota import Quota, QuotaScope, Rate
from ratesync.model.work import Entry
from ratesync.rules.lifecycle import FINAL
from ratesync.rules.verdict import EARLIER_ATTEMPT
from ratesync.testing.fake_provider import FakeProvider, RecordKey

_ROUNDING = 1e-6


def find_violations(
    operations: Sequence[Operation],
    entries: Sequence[Entry | None],
    provider: FakeProvider,
    *,
    quotas: Sequence[Quota] = (),
    zombies: bool = False,
) -> list[str]:
    """Every promise that was broken, in words.

    ``operations`` in the order in which they were submitted, each with its id; those that write have a field "n" that
    grows for each record. ``zombies``: a worker stood still longer than its lease, so a call of its may overlap with
    its successor's.
    """
    return [
        *_unfinished(operations, entries),
        *_created_twice(provider),
        *([] if zombies else _overlaps(provider)),
        *([] if zombies else _disordered(provider, _doubtful_records(operations, entries))),
        *_wrong_records(operations, entries, provider),
        *_exceeded(provider, quotas),
    ]


def _unfinished(operations: Sequence[Operation], entries: Sequence[Entry | None]) -> Iterator[str]:
    for operation, entry in zip(operations, entries, strict=True):
        if entry is None:
            yield f"lost: {operation.id}"
        elif entry.state not in FINAL:
            yield f"unfinished: {operation.id} is {entry.state}"


def _created_twice(provider: FakeProvider) -> Iterator[str]:
    creates = Counter(write.operation_id for write in provider.writes if write.kind is Kind.CREATE)
    return (f"created {count} times: {identity}" for identity, count in creates.items() if count > 1)


def _overlaps(provider: FakeProvider) -> Iterator[str]:
    if provider.overlaps:
        yield f"two calls at once on one record: {provider.overlaps} times"


def _disordered(provider: FakeProvider, doubtful: AbstractSet[RecordKey]) -> Iterator[str]:
    """First applications of a record's writes must come in the order of "n".

    Records with a doubtful operation are left out: a later one may have been taken back after it was applied.
    """
    latest: dict[RecordKey, int] = {}
    seen: set[str] = set()
    for write in provider.writes:
        key = (write.connection, write.resource, write.record_id)
        if key in doubtful:
            continue
        n = write.fields.get("n")
        if write.operation_id not in seen and isinstance(n, int):
            if n < latest.get(key, -1):
                yield f"out of order: {write.operation_id} (n={n}) after n={latest[key]}"
            latest[key] = n
        seen.add(write.operation_id)


def _wrong_records(
    operations: Sequence[Operation], entries: Sequence[Entry | None], provider: FakeProvider
) -> Iterator[str]:
    """A record must be what its completed operations make of it, unless the doubt about one was reported."""
    histories: dict[RecordKey, list[Operation]] = {}
    for operation, entry in zip(operations, entries, strict=True):
        if operation.record_id is not None:
            done = histories.setdefault(_record_of(operation), [])
            if entry is not None and entry.state is OperationState.COMPLETED:
                done.append(operation)
    for key in histories.keys() - _doubtful_records(operations, entries):
        expected = _replayed(histories[key])
        found = provider.records.get(key)
        if expected != (None if found is None else dict(found.fields)):
            yield f"wrong record {key}: expected {expected}, found {found}"


def _record_of(operation: Operation) -> RecordKey:
    return operation.connection, operation.resource, operation.record_id or ""


def _doubtful_records(operations: Sequence[Operation], entries: Sequence[Entry | None]) -> frozenset[RecordKey]:
    """Records with an operation of which it was reported, or is plain, that it may or may not have been applied."""
    pairs = zip(operations, entries, strict=True)
    return frozenset(_record_of(operation) for operation, entry in pairs if _is_doubtful(entry))


def _is_doubtful(entry: Entry | None) -> bool:
    if entry is None or entry.state is OperationState.CANCELLED:
        return True
    if entry.state is not OperationState.DEAD:
        return False
    outcome = decode_outcome(entry.result or b"")
    return isinstance(outcome, Unknown) or (not isinstance(outcome, Applied) and EARLIER_ATTEMPT in outcome.reason)


def _replayed(operations: Iterable[Operation]) -> Fields | None:
    fields: Fields | None = None
    for operation in operations:
        if operation.kind is Kind.DELETE:
            fields = None
        elif operation.kind is not Kind.READ:
            fields = {**(fields or {}), **operation.fields}
    return fields


def _exceeded(provider: FakeProvider, quotas: Sequence[Quota]) -> Iterator[str]:
    """No window of any rate may hold more calls than it permits, wherever it is laid."""
    connections = sorted({connection for _, connection in provider.arrivals})
    for quota in quotas:
        if not isinstance(quota, Rate):
            continue
        groups = [connections] if quota.scope is QuotaScope.PROVIDER else [[name] for name in connections]
        for names in groups:
            times = sorted(at for at, connection in provider.arrivals if connection in names)
            for first, last in zip(times, times[quota.permits :], strict=False):
                if last - first < quota.per - _ROUNDING:
                    yield f"quota exceeded: {quota.permits + 1} calls in {last - first:.6f} s by {names}"
                    break
