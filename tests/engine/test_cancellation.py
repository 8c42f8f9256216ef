"""Cancelling the host at every await in turn: nothing is lost, done twice or left behind."""

from __future__ import annotations

import random

import anyio
import pytest

from ratesync import Capabilities, Concurrency, CreateIdentity, Kind, Operation, Rate, Selector, Settings, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.model.quota import Demand, Scope
from ratesync.testing.cancellation import CheckpointCanceller, Moment
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import Backend, VirtualClock, run_virtual

QUOTAS = (Rate(4, per=1.0), Concurrency(3))
RECORDS = 12


class Stage:
    """A backend, a provider, and engines one after another."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.backend = MemoryBackend(clock=self.clock)
        able = Capabilities(batch_max=1, create_identity=CreateIdentity.CLIENT_ID)
        self.provider = FakeProvider(capabilities=able, clock=self.clock, latency=(0.02, 0.02))
        self.accepted = False

    def engine(self) -> SyncEngine:
        return SyncEngine(
            backend=self.backend,
            providers=[self.provider],
            quotas={"fake": QUOTAS},
            settings=Settings(max_calls=4, grace=0.05),
            clock=self.clock,
            random=random.Random(0),
        )

    async def play(self) -> None:
        """Submit, wait for some, cancel one, leave while others are under way."""
        async with self.engine() as engine:
            tickets = await engine.submit_many(
                [Operation.create("fake", "contacts", {"n": n}, record_id=f"r{n}", id=f"o{n}") for n in range(RECORDS)]
            )
            self.accepted = True
            await tickets[0].outcome()
            await engine.submit(Operation.update("fake", "contacts", "r0", {"m": 1}, id="more"), wait=10)
            await engine.pause("fake", "elsewhere")
            await engine.resume()
            await anyio.sleep(0.5)
            await engine.drain(timeout=2)


async def cancelled_at(at: int, moment: Moment) -> bool:
    """Play with a cancellation at one checkpoint, then look what is left; False if there are fewer checkpoints."""
    stage = Stage()
    async with CheckpointCanceller(at, moment=moment) as canceller:
        await stage.play()
    await check_nothing_is_held(stage)
    ended_at = stage.clock.now()
    async with stage.engine() as engine:
        assert await engine.drain(timeout=600)
        assert await engine.dead_letters() == []
    # Work left over needs at most the quota's time: had a lease been left behind, it would take a lapse (15 s) more.
    assert stage.clock.now() - ended_at < 10
    created = [write.record_id for write in stage.provider.writes if write.kind is Kind.CREATE]
    assert len(created) == len(set(created))
    assert len(created) in ({RECORDS} if stage.accepted else {0, RECORDS})
    assert stage.provider.overlaps == 0
    return canceller.reached


async def check_nothing_is_held(stage: Stage) -> None:
    assert (await stage.backend.queue.stats(Selector())).leased == 0
    slots = Demand(Scope("fake", "default"), QUOTAS[1])
    (use,) = await stage.backend.limiter.snapshot([slots])
    assert use.used == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["waiting", "resuming"])
def test_cancelling_at_every_checkpoint_loses_nothing(backend: Backend, moment: Moment) -> None:
    at = 1
    while run_virtual(cancelled_at, at, moment, backend=backend):
        at += 1
    assert at > 100, "the scenario must have checkpoints to cancel at"
