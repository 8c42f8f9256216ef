"""A lookup waits until the provider's index is sure to show what an attempt in doubt made."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Applied, Capabilities, Conflict, CreateIdentity, Operation, Outcome, RetryPolicy, Settings
from ratesync.engine.doubts import Doubts
from ratesync.memory import MemoryBackend
from ratesync.model.operation import OperationState
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.faults import Faults
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

LAG = 30.0
CREATE = Operation.create("fake", "contacts", {"name": "Ada"}, id="c")


@define
class Lagging(FakeProvider):
    """Shows a record to a lookup only ``LAG`` seconds after it was made."""

    looked_at: list[float] = field(factory=list[float], init=False)

    @override
    async def lookup(self, operation: Operation) -> Outcome | None:
        self.looked_at.append(self.clock.now())
        found = await super().lookup(operation)
        made_at = max((write.at for write in self.writes), default=0.0)
        return found if self.clock.now() - made_at >= LAG else None


def lagging(clock: VirtualClock, *, lost_answer: float = 0.0) -> Lagging:
    able = Capabilities(create_identity=CreateIdentity.LOOKUP, lookup_after=LAG)
    return Lagging(clock=clock, capabilities=able, faults=Faults(lost_answer=lost_answer), latency=(2.0, 2.0))


async def test_after_an_answer_that_was_lost(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = lagging(clock, lost_answer=1.0)
    settings = Settings(retry=RetryPolicy(base_delay=0.01, max_delay=0.01))
    async with make_engine(providers=[provider], settings=settings) as engine:
        ticket = await engine.submit(CREATE)
        assert isinstance(await ticket.outcome(timeout=600), Applied)
    assert len(provider.writes) == len(provider.looked_at) == 1
    assert provider.looked_at[0] - provider.writes[0].at >= LAG


@define
class Doubtful(Lagging):
    """Finds a record that may be another one."""

    @override
    async def lookup(self, operation: Operation) -> Outcome | None:
        self.looked_at.append(self.clock.now())
        return Conflict("a person must look")


async def test_what_a_person_must_look_at_is_not_asked_for_again(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    able = Capabilities(create_identity=CreateIdentity.LOOKUP, lookup_after=LAG)
    provider = Doubtful(clock=clock, capabilities=able, faults=Faults(lost_answer=1.0))
    async with make_engine(providers=[provider]) as engine:
        ticket = await engine.submit(CREATE)
        assert await ticket.outcome(timeout=600) == Conflict("a person must look")
        (letter,) = await engine.dead_letters()
    assert letter.outcome == Conflict("a person must look")
    assert len(provider.writes) == len(provider.looked_at) == 1


async def test_after_a_call_that_was_broken_off(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider, backend = lagging(clock), MemoryBackend(clock=clock)
    async with make_engine(role="submit", backend=backend, providers=[provider]) as host:
        await host.submit(CREATE)
        async with make_engine(role="work", backend=backend, providers=[provider], settings=Settings(grace=0)):
            await anyio.sleep(1.5)  # the record is made, the answer is on its way
        assert len(provider.writes) == 1
        async with make_engine(role="work", backend=backend, providers=[provider]):
            assert await host.drain(timeout=600)
        assert (await host.status("c")).state is OperationState.COMPLETED
    assert len(provider.writes) == 1
    assert provider.looked_at[0] - provider.writes[0].at >= LAG


async def test_after_a_worker_that_died(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider, backend = lagging(clock), MemoryBackend(clock=clock)
    async with make_engine(role="submit", backend=backend, providers=[provider]) as host:
        await host.submit(CREATE)
        dying = MortalQueue(backend.queue, clock)
        with anyio.CancelScope() as life:
            async with make_engine(role="work", queue=dying, limiter=backend.limiter, providers=[provider]):
                await anyio.sleep(1.5)
                dying.kill()
                life.cancel()
        async with make_engine(role="work", backend=backend, providers=[provider]):
            assert await host.drain(timeout=600)
    assert len(provider.writes) == 1
    assert provider.looked_at[0] - provider.writes[0].at >= LAG


def test_doubts_are_forgotten_when_they_are_over_and_when_they_are_too_many() -> None:
    doubts = Doubts()
    assert doubts.left("a", 30, 100.0) == 30
    assert doubts.left("a", 30, 110.0) == 20
    assert doubts.left("a", 30, 130.0) == 0
    assert doubts.left("a", 30, 140.0) == 30
    for number in range(10_001):
        doubts.left(str(number), 30, 150.0)
    assert doubts.left("0", 30, 160.0) == 30
    assert doubts.left("10000", 30, 160.0) == 20
