"""Real engines in the world of the simulation: what happens at which of their calls is told by a script."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
from attrs import define, field, frozen

from ratesync import SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.memory import MemoryBackend
from ratesync.model.batch import Batch, Capabilities
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, RetryLater, Unknown
from ratesync.model.run import SyncRun
from ratesync.model.settings import Settings
from ratesync.model.stored import Stored, Write
from ratesync.model.sync_settings import SyncSettings
from ratesync.testing.virtual_time import running_time
from tests.sync.adapter import Crm
from tests.sync.fake_crm import NOT_FOUND
from tests.sync.process import watch
from tests.sync.trial import REFERENCE
from tests.sync.world import GUARD, World

T = TypeVar("T")

FAULTS = ("kill", "lose", "refuse", "expire", "stall", "blink")
STALL = 50.0
"""Seconds. Short of the time for one call, so that a call may take so long and still be answered."""
Script = Mapping[int, str | Callable[[], None]]
"""What happens at which boundary between an engine and the world: a fault, or something that a user does."""


@frozen
class WorldClock:
    """Goes on from the time of the world with the time of the running loop."""

    start: float
    elapsed: Callable[[], float]
    is_virtual: bool = True

    def now(self) -> float:
        return self.start + self.elapsed()


@define
class LiveEngine:
    """One engine after the other, each for one pass: a process that may be killed at any of its calls."""

    world: World
    number: int
    script: Script = field(factory=dict[int, "str | Callable[[], None]"])
    boundaries: int = 0
    fault: str = ""
    """What becomes of the next call to the provider."""
    is_dead: bool = False
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    clock: WorldClock = field(init=False)

    async def run_pass(self) -> list[SyncRun]:
        return await self._with_engine(lambda engine: engine.syncs.sync_all(self._bindings()))

    async def approve(self) -> None:
        async def approve(engine: SyncEngine) -> None:
            for binding in self._bindings():
                await engine.syncs.approve_deletes(binding)

        await self._with_engine(approve)

    async def run_until_killed(self) -> None:
        """A pass that the script may end."""
        with self.scope:
            await self.run_pass()

    async def _with_engine(self, work: Callable[[SyncEngine], Awaitable[T]]) -> T:
        world, elapsed = self.world, running_time()
        assert elapsed is not None
        clock = WorldClock(world.now - elapsed(), elapsed)
        memory = MemoryBackend(clock=clock, cold_start=False)
        world.passes += 1
        engine = SyncEngine(
            queue=memory.queue,
            limiter=memory.limiter,
            state=_State(watch(world, world.state, self.around)),
            providers=[_FaultyCrm(watch(world, _Resources(world), self.around), self)],
            clock=clock,
            random=random.Random(world.passes),
            settings=Settings(sync=SyncSettings(page_size=2, chunk=3)),
        )
        self.clock = clock
        async with engine:
            found = await work(engine)
        world.now = max(world.now, clock.now())
        return found

    def _bindings(self) -> list[Binding]:
        world = self.world
        parents = {REFERENCE: world.parents.resource} if world.trial.families else {}
        return [
            Binding(
                local=watch(world, kind.local, self.around),
                provider="crm",
                resource=kind.resource,
                resolve=world.resolver(),
                gone=world.gone(kind),
                guard=GUARD,
                references=parents if kind is world.contacts else {},
            )
            for kind in world.kinds
        ]

    async def around(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call of the engine's: things happen before it, and after it was carried out."""
        await self._boundary()
        answer = await call()
        await self._boundary()
        return answer

    async def _boundary(self) -> None:
        self.boundaries += 1
        happens = self.script.get(self.boundaries, "")
        await anyio.sleep(STALL if happens == "stall" else 0.1 * (1 + self.number))
        if happens == "kill":
            self.is_dead = True
            self.scope.cancel()
        if self.is_dead:  # whatever a cancelled engine still tries, a killed process would not
            await anyio.sleep_forever()
        self.world.now = max(self.world.now, self.clock.now())
        if callable(happens):
            happens()
        elif happens:
            self.fault = happens

    def take_fault(self) -> str:
        fault, self.fault = self.fault, ""
        return fault


class _State:
    """The state store, as an engine wants it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        found: Sequence[Stored | None] = await self._inner.load(keys)
        return found

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        revisions: Sequence[int] = await self._inner.commit(writes)
        return revisions

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        found: Sequence[Stored] = await self._inner.scan(prefix, after=after, limit=limit)
        return found


@frozen
class _Resources:
    """The provider, with all kinds of records."""

    world: World

    @property
    def capabilities(self) -> Capabilities:
        return self.world.trial.capabilities

    async def execute(self, lane: Lane, operations: Sequence[Operation]) -> Mapping[str, Outcome]:
        return await self.world.kind(operations[0].resource).crm.execute(lane, operations)

    async def lookup(self, lane: Lane, operation: Operation) -> Outcome | None:
        return await self.world.kind(operation.resource).crm.lookup(lane, operation)

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        return await self.world.kind(resource).crm.pull_changes(lane, resource, cursor, limit)

    async def list_records(self, lane: Lane, resource: str, page: str | None, limit: int) -> RecordPage:
        return await self.world.kind(resource).crm.list_records(lane, resource, page, limit)


class _FaultyCrm(Crm):
    """The provider, with the faults of the script."""

    def __init__(self, inner: Any, engine: LiveEngine) -> None:
        super().__init__(inner)
        self._engine = engine

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        fault = self._engine.take_fault()
        if fault == "refuse":
            return {operation.id or "": RetryLater("not now") for operation in batch.operations}
        answers = await super().execute(batch)
        if fault == "blink":
            crm = self._engine.world.kind(batch.operations[0].resource).crm
            reads = {each.id or "": each.record_id for each in batch.operations if each.kind is Kind.READ}
            return answers | {op_id: NOT_FOUND for op_id, record_id in reads.items() if crm.misses(record_id)}
        return dict.fromkeys(answers, Unknown("answer lost")) if fault == "lose" else answers

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        if self._engine.take_fault() == "expire" and cursor is not None:
            self._engine.world.kind(resource).crm.expire()
        return await super().pull_changes(connection, resource, cursor, limit=limit)
