"""Taking operations in: check everything, then enqueue everything."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import anyio.lowlevel
from attrs import frozen

from ratesync.clock import Clock
from ratesync.codec import encode_operation
from ratesync.engine.notifier import Notifier
from ratesync.engine.wiring import TransformerKey
from ratesync.errors import InvalidPayload
from ratesync.model.batch import Capabilities
from ratesync.model.event import Submitted
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.policy import PayloadLimits
from ratesync.model.work import Enqueued, Item
from ratesync.protocols import ChecksFields, QueueBackend
from ratesync.randomness import operation_id
from ratesync.rules.admissible import check_operation

_TURN = 500
"""Operations prepared before others get a turn on the event loop."""


_WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})


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

    async def submit(self, operations: Sequence[Operation], *, wait: float | None) -> Sequence[Enqueued]:
        """Enqueue all operations or none."""
        items: list[Item] = []
        for index, operation in enumerate(operations):
            items.append(self._item(operation, f"operations[{index}]" if len(operations) > 1 else "operation"))
            if index % _TURN == _TURN - 1:
                await anyio.lowlevel.checkpoint()
        wait_until = None if wait is None else self.clock.now() + wait
        received = await self.queue.enqueue(items, wait_until=wait_until)
        if self.notify.active:
            self._tell(items, received)
        return received

    def _item(self, operation: Operation, path: str) -> Item:
        check_operation(operation, self.capabilities, self.limits, path)
        if self.checks and operation.kind in _WRITES:
            check = self.checks.get((operation.provider, operation.resource))
            if check is not None:
                check.check_at_submit(operation.fields, operation.kind, f"{path}.fields")
        body = encode_operation(operation, path=path)
        if len(body) > self.limits.max_bytes:
            raise InvalidPayload(
                f"{len(body)} bytes when encoded, at most {self.limits.max_bytes} are allowed", path=path
            )
        identity = operation.id or operation_id(self.clock.now(), self.random)
        return Item(
            identity,
            Lane(operation.provider, operation.connection),
            _mailbox_key(operation, identity),
            body,
            operation.priority,
            None if operation.not_before is None else operation.not_before.timestamp(),
            operation.idempotency_key,
        )

    def _tell(self, items: Sequence[Item], received: Sequence[Enqueued]) -> None:
        counts: dict[Lane, int] = {}
        for item, answer in zip(items, received, strict=True):
            if not answer.duplicate:
                counts[item.lane] = counts.get(item.lane, 0) + 1
        now = self.clock.now()
        for lane, count in counts.items():
            self.notify(Submitted(now, lane, count))


def _mailbox_key(operation: Operation, identity: str) -> str:
    if operation.key is not None:
        return operation.key
    if operation.record_id is None:
        return identity
    # NUL cannot stand in a resource, a record id or a key of the host's, so no two records share a mailbox by accident.
    return f"{operation.resource}\0{operation.record_id}"
