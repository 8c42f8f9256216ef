"""Engines as processes that die, freeze and come back; in virtual time, on both event loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Batch, Operation, Outcome
from ratesync.clock import Clock
from ratesync.memory import MemoryBackend, MemoryLimiter
from ratesync.model.event import Event
from ratesync.model.work import Claim, ClaimRequest, Settlement
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory, anyio_backend, backend, clock, make_engine

__all__ = [
    "EngineFactory",
    "NotingProvider",
    "Process",
    "ProcessFactory",
    "ScriptedProvider",
    "answering",
    "anyio_backend",
    "backend",
    "clock",
    "create",
    "failing",
    "gaps",
    "make_engine",
    "nothing",
    "upsert",
]


def upsert(record_id: str, connection: str = "default", **fields: object) -> Operation:
    return Operation.upsert("fake", "contacts", record_id, fields, connection=connection)


def create(record_id: str | None, connection: str = "default", **fields: object) -> Operation:
    return Operation.create("fake", "contacts", fields, record_id=record_id, connection=connection)


@define
class NotingProvider(FakeProvider):
    """Notes what it was asked, also where nothing came of it."""

    asked: list[tuple[float, Batch]] = field(factory=list[tuple[float, Batch]], init=False)
    """(instant, batch) of every call."""

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.asked.append((self.clock.now(), batch))
        return await super().execute(batch)

    @property
    def instants(self) -> list[float]:
        """When it was called."""
        return [at for at, _ in self.asked]

    @property
    def operations(self) -> list[Operation]:
        """Every operation that it was asked to carry out, as often as it was asked."""
        return [operation for _, batch in self.asked for operation in batch.operations]


@pytest.fixture
def provider(clock: VirtualClock) -> NotingProvider:
    return NotingProvider(clock=clock)


Answer = Callable[[Batch], Awaitable[Any]]


@define
class ScriptedProvider(NotingProvider):
    """Answers its first calls as it is told, the others well."""

    script: list[Answer] = field(factory=list[Answer])

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        if self.script:
            self.asked.append((self.clock.now(), batch))
            await anyio.sleep(self.latency[0])
            answer: dict[str, Outcome] = await self.script.pop(0)(batch)
            return answer
        return await super().execute(batch)

    async def really(self, batch: Batch) -> dict[str, Outcome]:
        """Carry the batch out, for use in a script."""
        return self._apply(batch)


def failing(error: BaseException) -> Answer:
    async def fail(batch: Batch) -> Any:
        raise error

    return fail


def answering(make: Callable[[Batch], Any]) -> Answer:
    async def answer(batch: Batch) -> Any:
        return make(batch)

    return answer


@pytest.fixture
def scripted(clock: VirtualClock) -> ScriptedProvider:
    return ScriptedProvider(clock=clock, latency=(0.02, 0.02))


def gaps(instants: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(instants)]


Happening = Callable[[], None]


def nothing() -> None:
    """What happens where a test asks for nothing."""


@define
class FatefulQueue(MortalQueue):
    """A mortal queue at whose steps something can be made to happen, above all death."""

    when_claimed: Happening = nothing
    """After a claim that got work."""
    when_settling: Happening = nothing
    """Before a settlement reaches the queue."""
    when_settled: Happening = nothing
    """After it reached the queue, before the engine knows."""

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        claim = await super().claim(request)
        if claim.batches:
            self.when_claimed()
            await anyio.lowlevel.checkpoint()  # who was killed never learns what it got
        return claim

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        self.when_settling()
        accepted = await super().settle(worker, settlements)
        self.when_settled()
        return accepted


@define
class Process:
    """A worker process: an engine of its own, with its own way to the common queue."""

    queue: FatefulQueue
    make_engine: EngineFactory
    options: dict[str, Any] = field(factory=dict[str, Any])
    events: list[Event] = field(factory=list[Event], init=False)
    scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    async def run(self) -> None:
        """Work until killed or stopped."""
        with self.scope:
            options = {"queue": self.queue, "role": "work", "observers": [self.events.append]} | self.options
            async with self.make_engine(**options):
                await anyio.sleep_forever()

    def kill(self) -> None:
        """As ``kill -9``: nothing that the engine does from now on reaches the queue."""
        self.queue.kill()
        self.scope.cancel()

    def stop(self) -> None:
        """Cancel the engine; it tidies up."""
        self.scope.cancel()


ProcessFactory = Callable[[], Process]


@pytest.fixture
def make_process(make_engine: EngineFactory, backend: MemoryBackend, clock: Clock) -> ProcessFactory:
    """Workers on the queue of ``backend``; each counts its permits by itself, as processes without a common limiter."""

    def make() -> Process:
        return Process(
            FatefulQueue(backend.queue, clock), make_engine, {"limiter": MemoryLimiter(clock=clock, cold_start=False)}
        )

    return make
