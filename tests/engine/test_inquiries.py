"""What calls cost that are no operation: permits are taken for what an adapter says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import define, field

from ratesync import Budget, Capabilities, Inquiry, Kind, Operation, Rate, Settings
from ratesync.engine.execution import Executor
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.quotas import QuotaTable
from ratesync.engine.sync.gate import Gate
from ratesync.memory import MemoryLimiter
from ratesync.model.lane import Lane
from ratesync.model.quota import Demand, Permit
from ratesync.testing.virtual_time import VirtualClock
from tests.providers.hubspot.world import provider_of
from tests.servers.hubspot_server import HubSpot

pytestmark = pytest.mark.anyio

LANE = Lane("hubspot", "default")
QUOTAS = (Rate(100, per=10.0), Rate(5, per=1.0, unit="searches"))


@define
class Taking:
    """Notes the permits that are taken, by unit."""

    limiter: MemoryLimiter
    taken: list[dict[str, int]] = field(factory=list[dict[str, int]])

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        counted = [demand for demand in demands if isinstance(demand.quota, Rate)]
        self.taken.append({demand.quota.unit: demand.cost for demand in counted if isinstance(demand.quota, Rate)})
        return await self.limiter.acquire(demands, priority=priority, deadline=deadline)

    def done(self, *given: Any) -> None:
        self.limiter.done(*given)

    async def used(self, gate: Gate) -> dict[str, int]:
        states = await self.limiter.snapshot(gate.quotas.listed(LANE, "companies"))
        return {state.demand.quota.unit: state.used for state in states if isinstance(state.demand.quota, Rate)}


@pytest.fixture
def limiter(clock: VirtualClock) -> Taking:
    return Taking(MemoryLimiter(clock=clock, cold_start=False))


def gate_to(provider: Any, limiter: Any, clock: VirtualClock) -> Gate:
    notify, settings = Notifier([]), Settings()
    quotas = QuotaTable({provider.name: QUOTAS}, {provider.name: provider.capabilities}, {provider.name: provider})
    executor = Executor({provider.name: provider}, {}, settings, clock, notify)
    return Gate(provider, limiter, quotas, HealthBoard(settings, clock, notify), executor, clock)


async def test_searches_of_hubspot_take_permits_of_their_own(limiter: Taking, clock: VirtualClock) -> None:
    hubspot = HubSpot()
    hubspot.account.seed("companies", 3, customer_no="1")
    async with provider_of(hubspot, clock=clock) as provider:
        gate = gate_to(provider, limiter, clock)
        page = await gate.pull_changes(LANE, "companies", None, 100)
        assert await limiter.used(gate) == {"calls": 1, "searches": 1}
        await gate.find(LANE, "companies", "properties.customer_no", ["1"])
        assert await limiter.used(gate) == {"calls": 2, "searches": 2}  # the reads behind the search were not needed
        await gate.list_records(LANE, "companies", None, 100)
        await gate.lookup(LANE, Operation.create("hubspot", "companies", {"properties": {"customer_no": "1"}}, id="o"))
        assert await limiter.used(gate) == {"calls": 4, "searches": 2}
        while not page.has_more:  # the next pass, and then the archive, which is a listing
            page = await gate.pull_changes(LANE, "companies", page.cursor, 100)
        await gate.pull_changes(LANE, "companies", page.cursor, 100)
        assert await limiter.used(gate) == {"calls": 6, "searches": 3}
    assert limiter.taken == [
        {"calls": 1, "searches": 1},
        {"calls": 3, "searches": 1},
        {"calls": 1},
        {"calls": 1},
        {"calls": 1, "searches": 1},
        {"calls": 1, "searches": 1},
    ]


def test_an_inquiry_that_costs_more_than_a_quota_ever_lets_through_takes_all_of_that() -> None:
    class Dear:
        def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
            return {"calls": 13}

    quotas = QuotaTable(
        {"hubspot": [Rate(10, per=2.0, reserve=0.2), Budget(100)]}, {"hubspot": Capabilities()}, {"hubspot": Dear()}
    )
    costs = [demand.cost for demand in quotas.demands(LANE, "companies", Inquiry.FIND)]
    assert costs[:2] == [8, 13]
    assert [demand.cost for demand in quotas.demands(LANE, "companies", Kind.READ)][:2] == [13, 13]
