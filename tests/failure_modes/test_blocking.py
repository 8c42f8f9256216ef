"""Transformers that block the event loop. In real time, with the engine's watchdog thread.

How fast the machine is decides nothing: the clock is the machine's, but what must take long is done by putting it
forward.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Applied, Batch, Fields, Kind, Operation, Outcome, Settings, SyncEngine, Ticket
from ratesync.clock import SystemClock
from ratesync.errors import QueueError
from ratesync.memory import MemoryLimiter, MemoryQueue
from ratesync.model.event import Event, LeaseRefused, LoopBlocked, SlowTransformer
from ratesync.model.work import ClaimRequest, Lease, Settlement
from ratesync.testing.fake_provider import FakeProvider

pytestmark = pytest.mark.anyio

LEASE = 30.0
BLOCKED_AFTER = 0.05
PATIENCE = 10.0
"""Real seconds to wait for another thread, however slow the machine is."""
SECRET = "hunter2"
SLOW = Operation.upsert("fake", "contacts", "1", {"slow": 1})


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Real time."""
    return str(request.param)


class SteppedClock(SystemClock):
    """The machine's clock, which can be put forward."""

    ahead = 0.0

    @override
    def now(self) -> float:
        return super().now() + self.ahead


class WatchedQueue(MemoryQueue):
    """Counts the signs of life that come from another thread than the event loop's."""

    failures = 0
    """How many of those fail first."""
    deaf = False
    """No sign of life arrives until another worker has looked for work, and taken back what nobody seems to hold."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(clock=clock, lease_seconds=LEASE)
        self.signs = 0

    def has_signs(self, number: int) -> bool:
        """Whether so many signs of life have come."""
        return self.signs >= number

    @override
    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        return [True] * len(leases) if self.deaf else await super().extend(worker, leases)

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        if self.deaf:
            await super().claim(ClaimRequest("another worker", 0, {}))
            self.deaf = False
        return await super().settle(worker, settlements)

    @override
    def keep_alive(self, worker: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.signs += 1
            if self.signs <= self.failures:
                raise QueueError("no connection")
        if not self.deaf:
            super().keep_alive(worker)


@define
class GatedProvider(FakeProvider):
    """Lets calls on contacts wait until the gate is opened."""

    gate: anyio.Event = field(factory=anyio.Event, init=False)
    waits: anyio.Event = field(factory=anyio.Event, init=False)

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        if batch.resource == "contacts":
            self.waits.set()
            await self.gate.wait()
        return await super().execute(batch)


@define
class Blocking:
    """A transformer that blocks the loop, once, for fields with "slow"."""

    block: Callable[[], None]
    blocked: int = 0

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        if "slow" in fields and not self.blocked:
            self.blocked += 1
            stall(self.block, SECRET)
        return fields

    def to_local(self, fields: Fields) -> Fields:
        return fields


def stall(block: Callable[[], None], private: str) -> None:
    """Stands in the stack while the loop is blocked, with something private among its variables."""
    assert private
    block()


class Stage:
    """An engine whose transformer for contacts blocks, and what came of it."""

    def __init__(self, block: Callable[[Stage], None], *, max_block: float = 100 * LEASE) -> None:
        self.clock = SteppedClock()
        self.queue = WatchedQueue(self.clock)
        self.provider = GatedProvider(clock=self.clock, latency=(0.0, 0.0))
        self.events: list[Event] = []
        self.engine = SyncEngine(
            queue=self.queue,
            limiter=MemoryLimiter(clock=self.clock, cold_start=False),
            providers=[self.provider],
            transformers={("fake", "contacts"): Blocking(lambda: block(self))},
            observers=[self.note],
            settings=Settings(blocked_after=BLOCKED_AFTER, slow_transform_after=0.01, max_block=max_block),
            clock=self.clock,
        )

    def note(self, event: Event) -> None:
        self.events.append(event)

    def seen(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def writes(self) -> int:
        """How often the slow operation was applied."""
        return sum(write.record_id == "1" for write in self.provider.writes)

    async def run(self, *, idle: bool = False) -> Ticket:
        """Carry out what blocks; before it is settled, let the engine claim, so that a lapsed lease is taken back.

        ``idle``: nothing else is under way when the loop is blocked.
        """
        with anyio.fail_after(5 * PATIENCE):
            async with self.engine:
                if not idle:
                    await self.engine.submit(Operation.upsert("fake", "contacts", "busy", {}))
                    await self.provider.waits.wait()
                slow = await self.engine.submit(SLOW)
                await (await self.engine.submit(Operation.upsert("fake", "deals", "2", {}))).outcome()
                await (await self.engine.submit(Operation.upsert("fake", "deals", "3", {}))).outcome()
                self.provider.gate.set()
                assert isinstance(await slow.outcome(), Applied)
                assert isinstance(await (await self.engine.submit(SLOW)).outcome(), Applied)
        return slow


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait without the event loop, and let other threads work."""
    gives_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < gives_up_at
        time.sleep(0.001)


def block_for_three_leases(stage: Stage) -> None:
    """After each third of a lease, wait for a sign of life before more time passes."""
    for _ in range(9):
        stage.clock.ahead += LEASE / 3
        wait_until(partial(stage.queue.has_signs, stage.queue.signs + 1))


@pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
async def test_case_11_a_lease_outlives_a_blocked_loop(*, idle: bool) -> None:
    """Also if the call that blocks it is the first after a rest, when the heart did not beat yet."""
    stage = Stage(block_for_three_leases)
    await stage.run(idle=idle)
    assert stage.queue.signs >= 9
    assert stage.writes == 2
    assert stage.seen(LeaseRefused) == []


async def test_case_11_a_blocked_loop_is_reported_with_the_place_and_without_values() -> None:
    stage = Stage(block_for_three_leases)
    await stage.run()
    (blocked,) = stage.seen(LoopBlocked)
    assert blocked.blocked_for >= BLOCKED_AFTER
    assert "test_blocking.py" in blocked.stack
    assert "in stall" in blocked.stack
    assert SECRET not in blocked.stack
    (slow,) = stage.seen(SlowTransformer)
    assert (slow.lane.provider, slow.resource) == ("fake", "contacts")
    assert slow.duration >= 3 * LEASE


async def test_case_11_the_watchdog_outlives_a_failing_backend() -> None:
    """The signs of life of a blocked loop must go on when one of them did not get through."""
    stage = Stage(block_for_three_leases)
    stage.queue.failures = 2
    await stage.run()
    assert stage.queue.signs >= 9
    assert stage.writes == 2


async def test_case_11_a_loop_blocked_for_too_long_gets_no_more_signs_of_life() -> None:
    def block(stage: Stage) -> None:
        stage.clock.ahead += LEASE
        wait_until(lambda: bool(stage.seen(LoopBlocked)))
        time.sleep(10 * BLOCKED_AFTER)  # the watchdog looks twice in each BLOCKED_AFTER

    stage = Stage(block, max_block=LEASE / 2)
    await stage.run()
    assert stage.queue.signs == 0


async def test_case_11_a_loop_that_turns_is_not_reported() -> None:
    stage = Stage(lambda _: None)
    await stage.run()
    assert stage.seen(LoopBlocked) == []
    assert stage.seen(SlowTransformer) == []
    assert stage.queue.signs == 0


async def test_case_11_the_watchdog_ends_with_the_engine() -> None:
    def is_watched() -> bool:
        return "ratesync-watchdog" in [thread.name for thread in threading.enumerate()]

    with anyio.fail_after(PATIENCE):
        async with Stage(lambda _: None).engine:
            while not is_watched():  # noqa: ASYNC110  a thread sets no event
                await anyio.sleep(0.001)
    assert not is_watched()


@contextmanager
def holding_the_gil() -> Generator[None]:
    """No other thread gets to run, as during one long call in C that does not let go of the interpreter."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


async def test_case_12_a_transformer_that_holds_the_interpreter_costs_one_repetition_at_most() -> None:
    """The watchdog cannot run either, so the lease is lost: the late settlement counts for nothing, nothing is lost."""
    signs_meanwhile: list[int] = []

    def block(stage: Stage) -> None:
        stage.queue.deaf = True
        with holding_the_gil():
            stage.clock.ahead += 2 * LEASE
            ends_at = time.monotonic() + 10 * BLOCKED_AFTER
            while time.monotonic() < ends_at:
                pass
            signs_meanwhile.append(stage.queue.signs)

    stage = Stage(block)
    stage.provider.gate.set()
    slow = await stage.run(idle=True)
    assert signs_meanwhile == [0]
    assert [event.key for event in stage.seen(LeaseRefused)].count("contacts\0001") == 1
    assert stage.writes == 2 + 1
    assert {write.operation_id for write in stage.provider.writes if write.record_id == "1"} >= {slow.id}
