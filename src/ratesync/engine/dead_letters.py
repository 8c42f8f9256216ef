"""Reading dead letters."""

from __future__ import annotations

from attrs import frozen

from ratesync.codec import decode_operation, decode_outcome
from ratesync.errors import CodecError
from ratesync.model.lane import Selector
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Unknown
from ratesync.model.status import DeadLetter
from ratesync.model.work import Entry
from ratesync.protocols import QueueBackend


@frozen
class DeadLetterBox:
    """Shows the queue's dead letters as operations."""

    queue: QueueBackend

    async def list(self, selector: Selector, *, after: str | None, limit: int) -> list[DeadLetter]:
        """Dead letters in the order in which they died."""
        return [_letter(entry) for entry in await self.queue.dead_letters(selector, after=after, limit=limit)]


def _letter(entry: Entry) -> DeadLetter:
    try:
        operation = decode_operation(entry.body or b"", entry.lane, entry.id)
    except CodecError:
        # It is dead because it cannot be read; what is known without reading still helps to find it.
        operation = Operation(
            provider=entry.lane.provider,
            connection=entry.lane.connection,
            id=entry.id,
            resource="",
            kind=Kind.READ,
            key=entry.key,
        )
    try:
        outcome = decode_outcome(entry.result or b"")
    except CodecError as error:
        outcome = Unknown(str(error))
    return DeadLetter(
        id=entry.id, operation=operation, attempts=entry.attempts, died_at=entry.finished_at or 0.0, outcome=outcome
    )
