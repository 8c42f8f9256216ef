"""Folding: what several pending operations on one record come to when they are sent as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from attrs import evolve, frozen

from ratesync.model.operation import Kind, Operation


@frozen
class Pending:
    """An operation that waits in a mailbox."""

    operation: Operation
    sent_as: int = 0
    """0 if it surely never reached the provider; else the token of the lease under which it may have."""


@frozen
class Step:
    """What to send for the head of a mailbox."""

    operation: Operation | None
    """None: nothing, as a create that was never sent and its delete cancel out. Those operations are done."""
    count: int
    """How many pending operations it stands for, from the head on; at least 1."""


_FOLDED: Mapping[tuple[Kind, Kind], Kind] = MappingProxyType(
    {
        (Kind.CREATE, Kind.UPDATE): Kind.CREATE,
        (Kind.UPDATE, Kind.UPDATE): Kind.UPDATE,
        (Kind.UPSERT, Kind.UPDATE): Kind.UPSERT,
        (Kind.UPSERT, Kind.UPSERT): Kind.UPSERT,
        (Kind.UPDATE, Kind.DELETE): Kind.DELETE,
        (Kind.UPSERT, Kind.DELETE): Kind.DELETE,
        (Kind.DELETE, Kind.DELETE): Kind.DELETE,
    }
)
"""What an operation and its successor fold into, by kind. Pairs that are missing do not fold, reads above all."""


def fold_head(pending: Sequence[Pending]) -> Step:
    """Fold the longest foldable prefix of a mailbox, which must not be empty.

    Neighbours fold if they concern the same record, neither has a condition (``if_version``) and both were sent under
    the same lease or both were never sent. So what may have reached the provider is repeated exactly as it was sent,
    whatever came in behind it. A create and its delete cancel out if neither was sent; folding stops there.

    The folded operation has the id and idempotency key of the first, the correlation id of the last, the fields of all
    (shallowly merged, later ones win) and the latest deadline.
    """
    head = pending[0]
    first = head.operation
    kind = first.kind
    count = 1
    for following in pending[1:]:
        if following.sent_as != head.sent_as or not _same_record(first, following.operation):
            break
        if kind is Kind.CREATE and following.operation.kind is Kind.DELETE and head.sent_as == 0:
            return Step(None, count + 1)
        folded = _FOLDED.get((kind, following.operation.kind))
        if folded is None:
            break
        kind = folded
        count += 1
    if count == 1:
        return Step(first, 1)
    return Step(_merge([each.operation for each in pending[:count]], kind), count)


def _same_record(first: Operation, second: Operation) -> bool:
    return (
        first.record_id == second.record_id
        and first.resource == second.resource
        and first.if_version is None
        and second.if_version is None
    )


def _merge(operations: Sequence[Operation], kind: Kind) -> Operation:
    fields: dict[str, Any] = {}
    if kind is not Kind.DELETE:
        for operation in operations:
            fields.update(operation.fields)
    return evolve(
        operations[0],
        kind=kind,
        fields=fields,
        deadline=_latest([operation.deadline for operation in operations]),
        correlation_id=operations[-1].correlation_id,
    )


def _latest(deadlines: Sequence[datetime | None]) -> datetime | None:
    known = [deadline for deadline in deadlines if deadline is not None]
    return max(known) if len(known) == len(deadlines) else None
