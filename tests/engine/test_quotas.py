"""Which quotas apply to a call, where each is counted, and that the engine makes the most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import (
    Adaptive,
    Applied,
    Batch,
    Budget,
    Capabilities,
    Concurrency,
    FixedWindow,
    Inquiry,
    Kind,
    Lane,
    LeakyBucket,
    Operation,
    Outcome,
    Penalty,
    Quota,
    QuotaScope,
    Rate,
    Rejected,
)
from ratesync.engine.quotas import QuotaTable
from ratesync.errors import PermitTimeout, UnknownProvider
from ratesync.memory import MemoryLimiter, MemoryQueue
from ratesync.model.batch import Reply
from ratesync.model.event import Event, LaneParked
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading
from ratesync.model.quota import Demand, Permit, Refusal, Scope
from ratesync.model.work import Settlement
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

BERLIN, PARIS = Lane("acme", "berlin"), Lane("acme", "paris")
WHOLE_APP = Rate(100, per=60.0, scope=QuotaScope.PROVIDER)
ACCOUNT = Rate(10, per=1.0)
ENDPOINT = Rate(4, per=1.0, scope=QuotaScope.ENDPOINT)
CONTACTS_ONLY = Rate(2, per=1.0, resource="contacts")
CONTACTS_AT_ONCE = Concurrency(3, scope=QuotaScope.PROVIDER, resource="contacts")


def table(
    *quotas: Quota, berlin: list[Quota] | None = None, concurrency: int | None = None, unbounded: bool = True
) -> QuotaTable:
    given: dict[str | tuple[str, str], list[Quota]] = {"acme": list(quotas)}
    if berlin is not None:
        given["acme", "berlin"] = berlin
    capabilities = Capabilities(concurrency=concurrency) if concurrency or unbounded else Capabilities()
    return QuotaTable(given, {"acme": capabilities, "globex": Capabilities(concurrency=None)})


def scopes(table: QuotaTable, lane: Lane, resource: str) -> dict[Quota, Scope]:
    return {demand.quota: demand.scope for demand in table.demands(lane, resource)}


def test_each_quota_is_counted_at_its_scope() -> None:
    assert scopes(table(WHOLE_APP, ACCOUNT, ENDPOINT), BERLIN, "contacts") == {
        WHOLE_APP: Scope("acme"),
        ACCOUNT: Scope("acme", "berlin"),
        ENDPOINT: Scope("acme", "berlin", "contacts"),
    }


def test_a_call_costs_one_permit_of_each() -> None:
    assert table(ACCOUNT).demands(BERLIN, "contacts") == (Demand(Scope("acme", "berlin"), ACCOUNT, 1),)


def test_connections_are_counted_apart_unless_the_quota_is_the_providers() -> None:
    quotas = table(WHOLE_APP, ACCOUNT)
    berlin, paris = scopes(quotas, BERLIN, "contacts"), scopes(quotas, PARIS, "contacts")
    assert berlin[WHOLE_APP] == paris[WHOLE_APP]
    assert berlin[ACCOUNT] != paris[ACCOUNT]


def test_a_quota_of_one_resource_is_left_out_for_the_others() -> None:
    quotas = table(ACCOUNT, CONTACTS_ONLY, CONTACTS_AT_ONCE)
    assert set(scopes(quotas, BERLIN, "deals")) == {ACCOUNT}
    assert scopes(quotas, BERLIN, "contacts") == {
        ACCOUNT: Scope("acme", "berlin"),
        CONTACTS_ONLY: Scope("acme", "berlin", "contacts"),
        CONTACTS_AT_ONCE: Scope("acme", "", "contacts"),
    }


def test_a_quota_of_one_resource_is_counted_apart_from_an_equal_one_of_all() -> None:
    quotas = table(Rate(2, per=1.0), CONTACTS_ONLY)
    assert len({demand.scope for demand in quotas.demands(BERLIN, "contacts")}) == 2


def test_a_connections_own_quotas_replace_those_of_its_kind() -> None:
    generous = Rate(1000, per=1.0)
    quotas = table(WHOLE_APP, ACCOUNT, ENDPOINT, berlin=[generous])
    assert set(scopes(quotas, BERLIN, "contacts")) == {WHOLE_APP, generous}
    assert set(scopes(quotas, PARIS, "contacts")) == {WHOLE_APP, ACCOUNT, ENDPOINT}


def test_a_connection_may_have_no_quotas_of_its_own_at_all() -> None:
    assert set(scopes(table(WHOLE_APP, ACCOUNT, berlin=[]), BERLIN, "contacts")) == {WHOLE_APP}


def test_the_adapters_concurrency_applies_to_each_connection() -> None:
    quotas = table(WHOLE_APP, concurrency=7)
    assert scopes(quotas, BERLIN, "contacts")[Concurrency(7)] == Scope("acme", "berlin")
    assert scopes(quotas, PARIS, "contacts")[Concurrency(7)] == Scope("acme", "paris")


def test_the_default_concurrency_applies_where_the_adapter_names_none() -> None:
    assert table(ACCOUNT, unbounded=False).demands(BERLIN, "contacts") == (
        Demand(Scope("acme", "berlin"), ACCOUNT),
        Demand(Scope("acme", "berlin"), Concurrency(Capabilities().concurrency or 0)),
    )


def test_without_a_declared_limit_it_is_found_out() -> None:
    globex = Scope("globex", "default")
    assert table(ACCOUNT).demands(Lane("globex"), "contacts") == (Demand(globex, Adaptive()),)
    assert table(Concurrency(3), CONTACTS_ONLY).demands(BERLIN, "deals")[-1].quota == Adaptive()
    assert all(demand.quota != Adaptive() for demand in table(WHOLE_APP).demands(BERLIN, "contacts"))


class Points:
    """Knows what a call costs."""

    def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
        if kind is Kind.READ:
            return {"points": size}
        return {"points": 10 + size, "calls": 2}


def test_each_quota_is_charged_in_its_own_unit() -> None:
    quotas = QuotaTable(
        {
            "acme": [
                Rate(500, per=1, unit="points"),
                Rate(50, per=1, unit="operations"),
                FixedWindow(20, per=60),
                Concurrency(5),
                Budget(9, unit="exports"),
            ]
        },
        {"acme": Capabilities(concurrency=None)},
        {"acme": Points()},
    )
    costs = {demand.quota: demand.cost for demand in quotas.demands(BERLIN, "contacts", Kind.UPDATE, 30)}
    assert list(costs.values()) == [40, 30, 2, 1]  # nothing of a unit that the adapter does not name
    reads = {demand.quota: demand.cost for demand in quotas.demands(BERLIN, "contacts", Kind.READ, 30)}
    assert list(reads.values()) == [30, 30, 1, 1]


@pytest.mark.parametrize(("size", "fitting"), [(1, 1), (37, 37), (50, 40), (100, 40)])
def test_no_more_operations_go_into_a_call_than_a_quota_ever_lets_through(size: int, fitting: int) -> None:
    quotas = table(Rate(50, per=1, unit="operations", reserve=0.2))
    assert quotas.fitting(BERLIN, "contacts", Kind.UPDATE, size) == fitting


@define
class CountingQueue(MortalQueue):
    """Counts the settlements that it gets."""

    settlements: int = 0

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        self.settlements += len(settlements)
        return await super().settle(worker, settlements)


async def carry_out(make_engine: EngineFactory, clock: VirtualClock, quota: Quota, count: int) -> tuple[float, float]:
    """Upserts of ``count`` records, 0.1 s each, one in a call: seconds that they took, settlements for each."""
    provider = FakeProvider(capabilities=Capabilities(batch_max=1), clock=clock, latency=(0.1, 0.1))
    queue = CountingQueue(MemoryQueue(clock=clock), clock)
    started_at = clock.now()
    async with make_engine(queue=queue, providers=[provider], quotas={"fake": [quota]}) as engine:
        await engine.submit_many([Operation.upsert("fake", "contacts", str(number), {}) for number in range(count)])
        assert await engine.drain(timeout=100_000)
    assert len(provider.records) == count
    return clock.now() - started_at, queue.settlements / count


NARROW: dict[str, tuple[Quota, float]] = {
    "rate of the connection": (Rate(10, per=1.0), 0.1),
    "rate of one resource": (Rate(10, per=1.0, resource="contacts"), 0.1),
    "rate of each endpoint": (Rate(10, per=1.0, scope=QuotaScope.ENDPOINT), 0.1),
    "concurrency of the connection": (Concurrency(2), 0.05),
    "concurrency of the provider": (Concurrency(2, scope=QuotaScope.PROVIDER), 0.05),
    "concurrency of one resource": (Concurrency(2, resource="contacts"), 0.05),
    "concurrency of each endpoint": (Concurrency(2, scope=QuotaScope.ENDPOINT), 0.05),
}
"""Quotas, and the seconds for each operation that they allow."""


@pytest.mark.anyio
@pytest.mark.parametrize(("quota", "seconds"), NARROW.values(), ids=NARROW)
async def test_a_quota_is_used_to_the_full(
    make_engine: EngineFactory, clock: VirtualClock, quota: Quota, seconds: float
) -> None:
    """Windows are counted from the ends of calls, as the provider may: that costs a rate one latency a window."""
    took, _ = await carry_out(make_engine, clock, quota, 200)
    latency = 0.1 if isinstance(quota, Rate) else 0.0
    assert took <= 1.01 * 200 * seconds * (1 + latency) + 1


@pytest.mark.anyio
@pytest.mark.parametrize("quota", [quota for quota, _ in NARROW.values()], ids=NARROW)
async def test_the_work_for_an_operation_does_not_grow_with_the_queue(
    make_engine: EngineFactory, clock: VirtualClock, quota: Quota
) -> None:
    _, few = await carry_out(make_engine, clock, quota, 50)
    _, many = await carry_out(make_engine, clock, quota, 400)
    assert many <= 1.5 * few


@define
class Telling(FakeProvider):
    """Tells how its quota stands, and notes how many operations were in each call."""

    sizes: list[int] = field(factory=list[int])
    told: Feedback = NO_FEEDBACK

    @override
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self.sizes.append(len(batch.operations))
        return Reply(await super().execute(batch), self.told)


@pytest.mark.anyio
@pytest.mark.parametrize("quota", [Rate(10, per=1.0, scope=QuotaScope.PROVIDER)], ids=repr)
async def test_a_quota_of_many_lanes_is_used_to_the_full_and_costs_each_of_them_little(
    make_engine: EngineFactory, clock: VirtualClock, quota: Quota
) -> None:
    provider = FakeProvider(capabilities=Capabilities(batch_max=1), clock=clock, latency=(0.1, 0.1))
    queue = CountingQueue(MemoryQueue(clock=clock), clock)
    started_at = clock.now()
    own = Rate(5, per=1.0)
    async with make_engine(queue=queue, providers=[provider], quotas={"fake": [quota, own]}) as engine:
        work = [Operation.upsert("fake", "contacts", str(n), {}, connection=f"c{n % 50}") for n in range(400)]
        await engine.submit_many(work)
        assert await engine.drain(timeout=100_000)
    assert clock.now() - started_at <= 1.01 * 400 * 0.1 * 1.1 + 2
    assert queue.settlements / 400 < 8


@pytest.mark.anyio
async def test_a_call_is_made_smaller_where_the_provider_allows_less_than_declared(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    told = Feedback(readings=(Reading(limit=6, remaining=5),))
    provider = Telling(capabilities=Capabilities(batch_max=20), clock=clock, told=told)
    quotas = {"fake": [Rate(100, per=1.0, unit="operations")]}
    async with make_engine(providers=[provider], quotas=quotas) as engine:
        await engine.submit(Operation.upsert("fake", "contacts", "first", {}))
        await anyio.sleep(0.5)
        await engine.submit_many([Operation.upsert("fake", "contacts", str(n), {}) for n in range(40)])
        assert await engine.drain(timeout=1000)
        (state, *_) = await engine.quotas("fake")
        assert state.limit == 6
    assert len(provider.records) == 41
    assert max(provider.sizes) <= 6


@pytest.mark.anyio
async def test_an_operation_that_costs_too_much_for_ever_becomes_a_dead_letter(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    @define
    class Dear(FakeProvider):
        def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
            return {"points": 1 if resource == "cheap" else 1_000}

    provider = Dear(clock=clock)
    async with make_engine(providers=[provider], quotas={"fake": [Rate(100, per=1.0, unit="points")]}) as engine:
        dear = await engine.submit(Operation.upsert("fake", "dear", "1", {}))
        cheap = await engine.submit(Operation.upsert("fake", "cheap", "1", {}))
        assert isinstance(await cheap.outcome(timeout=10), Applied)
        outcome = await dear.outcome(timeout=10)
        assert isinstance(outcome, Rejected)
        assert outcome.code == "cost"


@pytest.mark.anyio
async def test_what_is_kept_for_higher_priorities_is_theirs_even_in_the_same_lane(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    provider = FakeProvider(capabilities=Capabilities(batch_max=1), clock=clock, latency=(0.01, 0.01))
    async with make_engine(providers=[provider], quotas={"fake": [Rate(10, per=60.0, reserve=0.2)]}) as engine:
        await engine.submit_many([Operation.upsert("fake", "contacts", str(n), {}) for n in range(30)])
        await anyio.sleep(1)
        assert len(provider.records) == 8
        urgent = await engine.submit(Operation.upsert("fake", "contacts", "urgent", {}, priority=1))
        assert isinstance(await urgent.outcome(timeout=1), Applied)


@pytest.mark.anyio
async def test_an_engine_tells_how_quotas_stand(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = FakeProvider(clock=clock)
    everything = [FixedWindow(5, per=60), Budget(9), LeakyBucket(40, restore=2), Penalty(30), Adaptive()]
    async with make_engine(providers=[provider], quotas={"fake": [*everything, CONTACTS_ONLY, ENDPOINT]}) as engine:
        assert isinstance(await (await engine.submit(Operation.upsert("fake", "deals", "1", {}))).outcome(9), Applied)
        states = {state.demand.quota: state for state in await engine.quotas("fake")}
        assert set(states) == {*everything, Concurrency(10)}
        assert states[FixedWindow(5, per=60)].used == 1
        assert CONTACTS_ONLY in {state.demand.quota for state in await engine.quotas("fake", resource="contacts")}
        assert ENDPOINT not in {state.demand.quota for state in await engine.quotas("fake")}
        assert ENDPOINT in {state.demand.quota for state in await engine.quotas("fake", resource="deals")}
        with pytest.raises(UnknownProvider):
            await engine.quotas("other")


class Elsewhere(MemoryLimiter):
    """Says of all permits that other processes hold them, and what they return goes to who waits."""

    def __init__(self, clock: VirtualClock, *, returns: bool = True) -> None:
        super().__init__(clock=clock, cold_start=False)
        self.returns = returns
        self.waits = 0

    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        return Refusal(demands[0], None, is_elsewhere=True)

    @override
    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        self.waits += 1
        if self.returns:
            await anyio.sleep(0.1)
            return await super().acquire(demands, priority=priority, deadline=deadline)
        await anyio.sleep(1.0)
        raise PermitTimeout("others need them all", retry_after=None)


@pytest.mark.anyio
async def test_a_call_waits_for_permits_that_other_processes_hold(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    limiter, provider = Elsewhere(clock), FakeProvider("fake", Capabilities(concurrency=4), clock=clock)
    events: list[Event] = []
    async with make_engine(limiter=limiter, providers=[provider], observers=[events.append]) as engine:
        begun = clock.now()
        await engine.submit_many(Operation.upsert("fake", "contacts", str(number), {}) for number in range(8))
        assert await engine.drain(timeout=5)
        assert clock.now() - begun < 1.0
    assert provider.calls == 8
    assert not any(isinstance(event, LaneParked) for event in events)


@pytest.mark.anyio
async def test_a_lane_stays_open_to_others_while_they_need_all_its_permits(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """What waited in vain rests for a while, and is tried again."""
    limiter, provider = Elsewhere(clock, returns=False), FakeProvider("fake", Capabilities(concurrency=4), clock=clock)
    events: list[Event] = []
    async with make_engine(limiter=limiter, providers=[provider], observers=[events.append]) as engine:
        await engine.submit(Operation.upsert("fake", "contacts", "1", {}))
        await anyio.sleep(9.5)
        assert provider.calls == 0
        assert limiter.waits == 5
        limiter.returns = True
        assert await engine.drain(timeout=5)
    assert provider.calls == 1
    assert not any(isinstance(event, LaneParked) for event in events)
