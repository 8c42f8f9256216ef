"""Taking operations in: check everything, then enqueue everything."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.lowlevel
from attrs import field, frozen

from ratesync.clock import Clock
from ratesync.codec import encode_operation
from ratesync.engine.notifier import Notifier
from ratesync.engine.wiring import TransformerKey
from ratesync.errors import InvalidOperation, InvalidPayload
from ratesync.model.batch import Capabilities
from ratesync.model.event import Submitted
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.policy import PayloadLimits
from ratesync.model.work import Enqueued, Item
from ratesync.protocols import ChecksFields, QueueBackend
from ratesync.randomness import operation_id
from ratesync.rules.admissible import check_operation, check_values

_TURN = 500
"""Operations prepared before others get a turn on the event loop."""


_WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})


_MOST_TARGETS = 200
"""Of so many it is remembered that operations may go there."""


@frozen
class _Target:
    """What operations of one provider, resource and kind have in common."""

    able: Capabilities
    check: ChecksFields | None
    """Of the mapping, for what is written."""


@frozen
class Intake:
    """Turns operations into items of the queue."""

    queue: QueueBackend
    capabilities: Mapping[str, Capabilities]
    limits: PayloadLimits
    clock: Clock
    random: random.Random
    notify: Notifier
    checks: Mapping[TransformerKey, ChecksFields]
    _targets: dict[tuple[str, str, Kind], _Target] = field(factory=dict[Any, Any], init=False, eq=False, repr=False)
    """Where admissible operations went."""

    async def submit(self, operations: Sequence[Operation], *, wait: float | None) -> Sequence[Enqueued]:
        """Enqueue all operations or none."""
        items: list[Item] = []
        for start in range(0, len(operations), _TURN):
            if start:
                await anyio.lowlevel.checkpoint()
            for operation in operations[start : start + _TURN]:
                try:
                    items.append(self._item(operation, "operation"))
                    continue
                except InvalidOperation:
                    if len(operations) == 1:
                        raise
                items.append(self._item(operation, f"operations[{len(items)}]"))  # tells its place
        wait_until = None if wait is None else self.clock.now() + wait
        received = await self.queue.enqueue(items, wait_until=wait_until)
        if self.notify.active:
            self._tell(items, received)
        return received

    def _item(self, operation: Operation, path: str) -> Item:
        target = self._target_of(operation, path)
        if target.check is not None:
            target.check.check_at_submit(operation.fields, operation.kind, f"{path}.fields")
        body = encode_operation(operation, path=path)
        if len(body) > self.limits.max_bytes:
            raise InvalidPayload(
                f"{len(body)} bytes when encoded, at most {self.limits.max_bytes} are allowed", path=path
            )
        identity = operation.id or operation_id(self.clock.now(), self.random)
        return Item(
            identity,
            Lane(operation.provider, operation.connection),
            mailbox_key(operation, identity),
            body,
            operation.priority,
            None if operation.not_before is None else operation.not_before.timestamp(),
            operation.idempotency_key,
        )

    def _target_of(self, operation: Operation, path: str) -> _Target:
        """Check the operation; what concerns its target only once for all that go there."""
        names = None
        if operation.__class__ is Operation and operation.kind.__class__ is Kind:
            names = operation.provider, operation.resource, operation.kind
            try:
                target = self._targets.get(names)
            except TypeError:  # no texts, as the check will tell
                target = None
            if target is not None:
                check_values(operation, target.able, self.limits, path)
                return target
        check_operation(operation, self.capabilities, self.limits, path)
        check = self.checks.get((operation.provider, operation.resource)) if operation.kind in _WRITES else None
        target = _Target(self.capabilities[operation.provider], check)
        if names is not None:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            self._targets[names] = target
        return target

    def _tell(self, items: Sequence[Item], received: Sequence[Enqueued]) -> None:
        counts: dict[Lane, int] = {}
        for item, answer in zip(items, received, strict=True):
            if not answer.duplicate:
                counts[item.lane] = counts.get(item.lane, 0) + 1
        now = self.clock.now()
        for lane, count in counts.items():
            self.notify(Submitted(now, lane, count))


def mailbox_key(operation: Operation, identity: str) -> str:
    """The key by which an operation is ordered: its own, its record's, or else its id."""
    if operation.key is not None:
        return operation.key
    if operation.record_id is None:
        return identity
    # NUL cannot stand in a resource, a record id or a key of the host's, so no two records share a mailbox by accident.
    return f"{operation.resource}\0{operation.record_id}"
