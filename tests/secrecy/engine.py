"""All that an engine says of operations, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio

from ratesync import Operation, RetryPolicy, Settings, SyncEngine
from ratesync.errors import RateSyncError
from ratesync.memory import MemoryBackend
from tests.secrecy.canary import told_by

_SETTINGS = Settings(retry=RetryPolicy(max_attempts=1, base_delay=0.001, max_delay=0.001), grace=0)


async def said_by_engine(provider: Any, operations: Sequence[Operation]) -> list[str]:
    """Events, outcomes, dead letters, previews and errors, as text."""
    said: list[str] = []
    backend = MemoryBackend()
    over = anyio.Event()

    def observe(event: object) -> None:
        said.append(repr(event))
        if type(event).__name__ in {"CallFinished", "LanePaused", "OperationDied"}:
            over.set()

    async with SyncEngine(backend=backend, providers=[provider], observers=[observe], settings=_SETTINGS) as engine:
        said.append(repr(await engine.preview(operations)))
        tickets = await engine.submit_many(operations)
        with anyio.move_on_after(5):
            await over.wait()
        for ticket in tickets:
            try:
                said.append(repr(await ticket.outcome(timeout=0.02)))
            except RateSyncError as error:
                said += told_by(error)
        said.append(repr(await engine.dead_letters()))
        said.append(repr(await engine.stats()))
        said.append(repr(tickets))
    entries = await backend.queue.get([ticket.id for ticket in tickets])
    said.append(repr(entries))
    return said
