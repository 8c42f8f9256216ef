"""Giving each operation of a batch its own outcome, out of an answer with many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve

from ratesync.model.batch import Batch
from ratesync.model.operation import Operation
from ratesync.model.outcome import Outcome, Rejected, Unknown


def match_rows(
    operations: Sequence[Operation],
    rows: Iterable[Any],
    *,
    key_of_operation: Callable[[Operation], str | None],
    key_of_row: Callable[[Any], str | None],
    read: Callable[[Operation, Any], Outcome],
) -> dict[str, Outcome]:
    """Outcomes by operation id. Rows are matched by key and never by position, so their order does not matter.

    An operation without a row is ``Unknown``: the provider may or may not have carried it out. So is one with two rows
    that say different things, and one whose key another operation has, too. Rows that nobody asked for are left out.

    :param key_of_operation: what is expected back, such as the record id, or the operation id where it was sent along.
    :param key_of_row: the same of a row; None where it has none.
    :param read: the outcome that a row tells.
    """
    found: dict[str, list[Any]] = {}
    for row in rows:
        key = key_of_row(row)
        if key is not None:
            found.setdefault(key, []).append(row)
    keys = [key_of_operation(operation) for operation in operations]
    outcomes: dict[str, Outcome] = {}
    for operation, key in zip(operations, keys, strict=True):
        identity = operation.id or ""
        told = [] if key is None else [read(operation, row) for row in found.get(key, ())]
        if key is not None and keys.count(key) > 1:
            outcomes[identity] = Unknown("two operations of the batch have the same key, so their rows cannot be told")
        elif not told:
            outcomes[identity] = Unknown("the provider's answer has no row for this operation")
        elif any(other != told[0] for other in told):
            outcomes[identity] = Unknown("the provider's answer has rows that contradict each other")
        else:
            outcomes[identity] = told[0]
    return outcomes


def is_refused_whole(batch: Batch, outcomes: Mapping[str, Outcome]) -> bool:
    """Tell whether a provider that carries out all or nothing has refused all, so that the guilty must be looked for.

    Only ``Rejected`` counts: after any other outcome it is not sure that nothing was carried out.
    """
    told = [outcomes.get(operation.id or "") for operation in batch.operations]
    return len(told) > 1 and all(isinstance(outcome, Rejected) for outcome in told)


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The batch in two."""
    middle = (len(batch.operations) + 1) // 2
    return (
        evolve(batch, operations=batch.operations[:middle]),
        evolve(batch, operations=batch.operations[middle:]),
    )
