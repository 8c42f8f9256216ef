"""A limiter that fails for a while: nothing is sent meanwhile, few ask, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Operation, Rate
from ratesync.errors import LimiterError
from ratesync.memory import MemoryLimiter
from ratesync.model.event import BackendFailed, Event, LaneParked
from ratesync.model.quota import Demand, Permit, Refusal
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio


class FailingLimiter(MemoryLimiter):
    """Fails until it is mended."""

    is_broken = True
    asked = 0

    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        self.asked += 1
        if self.is_broken:
            raise LimiterError("the server does not answer")
        return await super().reserve(demands, priority=priority)


@define
class Noted:
    events: list[Event] = field(factory=list[Event])

    def __call__(self, event: Event, /) -> None:
        self.events.append(event)


async def test_lanes_rest_while_the_limiter_fails_and_go_on_when_it_is_back(
    make_engine: EngineFactory, provider: FakeProvider, clock: VirtualClock
) -> None:
    limiter, noted = FailingLimiter(clock=clock, cold_start=False), Noted()
    quotas = {"fake": [Rate(100, per=1.0)]}
    async with make_engine(limiter=limiter, quotas=quotas, observers=[noted]) as engine:
        work = [Operation.upsert("fake", "contacts", str(n), {}, connection=f"c{n % 40}") for n in range(2_000)]
        await engine.submit_many(work)
        await anyio.sleep(60)
        assert not provider.records
        assert 12 <= limiter.asked <= 100, "one lane asks for all"
        limiter.is_broken = False
        back_at = clock.now()
        assert await engine.drain(timeout=60)
    assert len(provider.records) == 2_000
    assert provider.arrivals[0][0] <= back_at + 6
    assert {event.reason for event in noted.events if isinstance(event, BackendFailed)} == {"LimiterError"}
    assert "limiter" in {event.reason for event in noted.events if isinstance(event, LaneParked)}
