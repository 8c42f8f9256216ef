"""How far the job has come, as it is known after a kill: from the queue, and from a note in the state store beside it.

Each operation has an id of its own that is always the same, so submitting a chunk once more adds nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from attrs import define, field

from ratesync import Lane
from ratesync.model.operation import OperationState
from ratesync.model.stored import Write
from ratesync.rules.lifecycle import FINAL
from ratesync.sqlite import SqliteBackend

from .crm_adapter import PROVIDER
from .dataset import OperationPlace, PlannedOperation

CHUNK = 500
SUBMITTED, IN_DOUBT = "submitted", "in doubt"


def operation_id(number: int) -> str:
    """The id of the plan's operation number `number`."""
    return f"demo-{number}"


@define
class Course:
    """`submitted` operations of the plan are accepted, of which `done` are finished, by lane, and `waiting` are not.

    `in_doubt` were under way when a process was killed, this time or before.
    """

    submitted: int = 0
    done: Counter[Lane] = field(factory=Counter[Lane])
    waiting: int = 0
    in_doubt: set[OperationPlace] = field(factory=set[OperationPlace])

    @property
    def is_begun(self) -> bool:
        """Whether an earlier process has submitted something."""
        return self.submitted > 0

    def __str__(self) -> str:
        return (
            f"an earlier run was interrupted; going on with it: {self.submitted:,} operations submitted, "
            f"{self.done.total():,} of them done, {self.waiting:,} wait in the queue. In doubt, as they were under "
            f"way: {len(self.in_doubt):,}. They are tried again in a few seconds, when their leases have ended."
        )


async def look_back(backend: SqliteBackend, operations: Sequence[PlannedOperation]) -> Course:
    """What an earlier process has left. The backend must be open, and nobody may work on it yet."""
    course = Course()
    noted, doubts = await backend.state.load([SUBMITTED, IN_DOUBT])
    first_unknown = 0 if noted is None else int(noted.value)
    if doubts is not None:
        course.in_doubt.update(OperationPlace(*place) for place in json.loads(doubts.value))
    for start in range(0, len(operations), CHUNK):
        chunk = operations[start : start + CHUNK]
        entries = await backend.queue.get([operation_id(start + offset) for offset in range(len(chunk))])
        # The process may have been killed when a chunk was accepted but not noted.
        if start >= first_unknown and not any(entries):
            break
        course.submitted = start + len(chunk)
        for planned, entry in zip(chunk, entries, strict=True):
            if entry is None or entry.state in FINAL:
                course.done[Lane(PROVIDER, planned.connection)] += 1
                continue
            course.waiting += 1
            if entry.state is OperationState.LEASED:
                course.in_doubt.add(planned.place)
    await backend.state.commit([Write(IN_DOUBT, json.dumps(sorted(course.in_doubt)).encode())])
    return course


async def note(backend: SqliteBackend, submitted: int) -> None:
    """Note that so many operations of the plan are accepted."""
    await backend.state.commit([Write(SUBMITTED, str(submitted).encode())])


@asynccontextmanager
async def opened(backend: SqliteBackend) -> AsyncGenerator[SqliteBackend]:
    """The backend, open for a look before an engine works on it."""
    await backend.queue.open()
    await backend.state.open()
    try:
        yield backend
    finally:
        await backend.state.close()
        await backend.queue.close()
