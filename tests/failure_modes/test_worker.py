"""Cases 1 to 7 of the failure catalogue: workers that die, or come back from the dead."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from attrs import define, evolve, field
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    CreateIdentity,
    Operation,
    OperationState,
    Outcome,
    Rate,
    Settings,
    SyncEngine,
    Unknown,
)
from ratesync.errors import EnqueueUncertain
from ratesync.memory import MemoryBackend, MemoryLimiter
from ratesync.model.event import Event, LeaseRefused
from ratesync.model.lane import Selector
from ratesync.model.quota import Demand, Permit, Refusal, Scope
from ratesync.model.work import Enqueued, Item, Lease
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    Process,
    ProcessFactory,
    create,
    upsert,
)

pytestmark = pytest.mark.anyio

LEASE = 15.0
REDELIVERED_WITHIN = 20.0
"""Seconds from the death of a worker to its work being done by another."""
SLOW = (10.0, 10.0)
"""A latency: the request is applied after 5 s, the answer comes after 10 s."""


async def hand_over(
    host: SyncEngine, operation: Operation, first: Process, second: Process, *, kill_after: float | None = None
) -> None:
    """Let the first process work on the operation until it dies, by itself or when told, and then the second."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await host.submit(operation)
        await anyio.sleep(kill_after or 1)
        if kill_after is not None:
            first.kill()
        tasks.start_soon(second.run)
        assert await host.drain(timeout=600)
        second.stop()


async def test_case_01_killed_after_the_claim(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    first = make_process()
    first.queue.when_claimed = first.kill
    started_at = clock.now()
    async with make_engine(role="submit") as host:
        await hand_over(host, create("1", n=1), first, make_process())
    (write,) = provider.writes
    assert provider.calls == 1
    assert LEASE < write.at - started_at <= REDELIVERED_WITHIN


async def test_case_02_killed_during_the_call_before_it_was_applied(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.latency = SLOW
    started_at = clock.now()
    async with make_engine(role="submit") as host:
        await hand_over(host, create("1", n=1), make_process(), make_process(), kill_after=2)
    assert len(provider.writes) == 1
    assert len(provider.asked) == 2
    assert provider.instants[1] - started_at <= 2 + REDELIVERED_WITHIN


@pytest.mark.parametrize(
    ("operation", "identity", "applied"),
    [
        pytest.param(upsert("1", n=1), CreateIdentity.CLIENT_ID, 2, id="upsert"),
        pytest.param(upsert("1", n=1), CreateIdentity.IDEMPOTENCY_KEY, 1, id="upsert-by-key"),
        pytest.param(create("1", n=1), CreateIdentity.CLIENT_ID, 1, id="create-by-client-id"),
        pytest.param(create(None, n=1), CreateIdentity.IDEMPOTENCY_KEY, 1, id="create-by-key"),
        pytest.param(create(None, n=1), CreateIdentity.LOOKUP, 1, id="create-looked-up"),
    ],
)
async def test_case_03_killed_after_it_was_applied(
    make_engine: EngineFactory,
    make_process: ProcessFactory,
    provider: NotingProvider,
    *,
    operation: Operation,
    identity: CreateIdentity,
    applied: int,
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(create_identity=identity)
    async with make_engine(role="submit") as host:
        await hand_over(host, evolve(operation, id="op"), make_process(), make_process(), kill_after=7)
        assert isinstance((await host.status("op")).outcome, Applied)
    assert len(provider.writes) == applied
    assert len(provider.asked) + provider.lookups == 2
    assert {each.idempotency_key for each in provider.operations} == {"op"}
    assert [dict(record.fields) for record in provider.records.values()] == [{"n": 1}]


async def test_case_03_a_create_in_doubt_without_identity_is_reported_and_not_repeated(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(create_identity=CreateIdentity.NONE)
    async with make_engine(role="submit") as host:
        await hand_over(host, create(None, n=1), make_process(), make_process(), kill_after=7)
        (letter,) = await host.dead_letters()
    assert isinstance(letter.outcome, Unknown)
    assert len(provider.asked) == 1


async def test_case_04_killed_after_the_ack(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    first = make_process()
    first.queue.when_settled = first.kill
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        ticket = await host.submit(create("1", n=1))
        tasks.start_soon(first.run)
        await anyio.sleep(1)
        assert first.scope.cancel_called
        second = make_process()
        tasks.start_soon(second.run)
        await anyio.sleep(100)
        second.stop()
        assert await ticket.outcome() == Applied("1", "1")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("step", ["when_settling", "when_settled"])
async def test_case_05_killed_in_the_move_to_the_dead_letters(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, step: str
) -> None:
    first, second = make_process(), make_process()
    setattr(first.queue, step, first.kill)
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        await host.submit(Operation.update("fake", "contacts", "absent", {"n": 1}))
        tasks.start_soon(first.run)
        await anyio.sleep(1)
        stats = await host.stats()
        assert stats.pending + stats.dead == 1
        tasks.start_soon(second.run)
        assert await host.drain(timeout=60)
        second.stop()
        assert len(await host.dead_letters()) == (await host.stats()).dead == 1
    assert len(provider.asked) == (1 if step == "when_settled" else 2)


async def test_case_05_killed_in_the_claim_that_took_over_a_dead_workers_item(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    first, second, third = make_process(), make_process(), make_process()
    first.queue.when_claimed = first.kill
    second.queue.when_claimed = second.kill
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        await host.submit(create("1", n=1))
        for process in (first, second, third):
            tasks.start_soon(process.run)
            await anyio.sleep(LEASE + 1)
            assert (await host.stats()).pending + len(provider.writes) == 1
        third.stop()
        assert (await host.stats()).pending == 0
    assert len(provider.asked) == 1


@define
class LostReplyQueue(MortalQueue):
    """Enqueues, but the first reply is lost."""

    lost: int = 0

    @override
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        received = await super().enqueue(items, wait_until=wait_until)
        if not self.lost:
            self.lost += 1
            raise EnqueueUncertain("no answer", ids=[item.id for item in items])
        return received


async def test_case_06_submitting_again_after_a_lost_reply_enqueues_once(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    operations = [upsert("1", n=1), upsert("2", n=2)]
    async with make_engine(queue=LostReplyQueue(backend.queue, clock)) as engine:
        with pytest.raises(EnqueueUncertain) as caught:
            await engine.submit_many(operations)
        again = [evolve(each, id=identity) for each, identity in zip(operations, caught.value.ids, strict=True)]
        tickets = await engine.submit_many(again)
        assert [ticket.duplicate for ticket in tickets] == [True, True]
        assert await engine.drain(timeout=60)
    assert sorted(write.record_id for write in provider.writes) == ["1", "2"]


async def test_case_07_a_zombie_cannot_settle(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    """Stopped for 40 s in a call: another worker takes over, and what the zombie says afterwards counts for nothing."""
    provider.latency = SLOW
    zombie, other = make_process(), make_process()
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        ticket = await host.submit(upsert("1", n=1))
        tasks.start_soon(zombie.run)
        await anyio.sleep(1)
        zombie.queue.freeze(clock.now() + 40)
        tasks.start_soon(other.run)
        assert await ticket.outcome(timeout=30) == Applied("1", "2")
        # The same record is being worked on again, under another lease, when the zombie awakes.
        await anyio.sleep(40 - (clock.now() - provider.instants[0]) - 3)
        later = await host.submit(upsert("1", n=2))
        await anyio.sleep(5)
        assert zombie.queue.refused == 1
        assert [event.key for event in zombie.events if isinstance(event, LeaseRefused)] == ["contacts\0001"]
        assert (await later.status()).state is OperationState.LEASED
        assert await later.outcome(timeout=30) == Applied("1", "3")
        assert await ticket.outcome() == Applied("1", "2")
        zombie.stop()
        other.stop()
    assert dict(provider.records["default", "contacts", "1"].fields) == {"n": 2}


async def test_case_07_the_call_of_a_lost_lease_is_broken_off(
    make_engine: EngineFactory, make_process: ProcessFactory, backend: MemoryBackend, clock: VirtualClock
) -> None:
    """Stopped for 20 s in a long call: what it does from then on could only do harm, so it is not waited for."""
    provider = LongProvider(clock=clock, capabilities=Capabilities(concurrency=1))
    zombie, other = make_process(), make_process()
    for process in (zombie, other):
        process.options |= {"providers": [provider], "settings": Settings(call_timeout=300)}
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        ticket = await host.submit(upsert("1", n=1))
        started_at = clock.now()
        tasks.start_soon(zombie.run)
        await anyio.sleep(1)
        zombie.queue.freeze(started_at + 20)
        tasks.start_soon(other.run)
        assert await ticket.outcome(timeout=30) == Applied("1", "1")
        await anyio.sleep(started_at + 30 - clock.now())
        (broken_off_at,) = provider.broken_off
        assert 20 <= broken_off_at - started_at <= 20 + LEASE / 3
        assert [event.key for event in zombie.events if isinstance(event, LeaseRefused)] == ["contacts\0001"]
        assert zombie.queue.refused == 0
        # The broken off call gave its permit back, so that the zombie, the only worker left, can make the next one.
        other.stop()
        assert await (await host.submit(upsert("1", n=2))).outcome(timeout=5) == Applied("1", "2")
        zombie.stop()
    assert (await backend.queue.stats(Selector())).pending == 0


@define
class LongProvider(NotingProvider):
    """The first call takes for ever. Notes when a call is broken off."""

    broken_off: list[float] = field(factory=list[float])

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        if not self.asked:
            self.asked.append((self.clock.now(), batch))
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.broken_off.append(self.clock.now())
                raise
        return await super().execute(batch)

    @override
    async def lookup(self, operation: Operation) -> Outcome | None:
        await self.execute(Batch(operation.lane, operation.resource, operation.kind, (operation,)))
        return None


@define
class ForgetfulQueue(MortalQueue):
    """Says after a while that all leases are lost, or all but the first."""

    spared: int = 0

    @override
    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        await super().extend(worker)
        return [position < self.spared for position in range(len(leases))]


@pytest.mark.parametrize(("spared", "broken_off"), [(0, 1), (1, 0)])
async def test_case_07_a_call_that_has_a_lease_left_goes_on(
    make_engine: EngineFactory, backend: MemoryBackend, clock: VirtualClock, *, spared: int, broken_off: int
) -> None:
    provider = LongProvider(clock=clock, capabilities=Capabilities(batch_max=2))
    queue = ForgetfulQueue(backend.queue, clock, spared=spared)
    async with make_engine(queue=queue, providers=[provider], settings=Settings(grace=0)) as engine:
        await engine.submit_many([upsert("1", n=1), upsert("2", n=2)])
        await anyio.sleep(LEASE)
        assert len(provider.asked[0][1].operations) == 2
        assert len(provider.broken_off) == broken_off


class SlowLimiter(MemoryLimiter):
    """Takes longer than a lease to answer."""

    @override
    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        await anyio.sleep(LEASE)
        return await super().reserve(demands, priority=priority)


async def test_case_07_a_call_that_lost_its_lease_before_it_began_is_not_made(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    limiter = SlowLimiter(clock=clock, cold_start=False)
    quota = Rate(10, per=1000)
    async with make_engine(
        queue=ForgetfulQueue(backend.queue, clock),
        limiter=limiter,
        quotas={"fake": [quota]},
        settings=Settings(grace=0),
    ) as engine:
        await engine.submit(upsert("1", n=1))
        await anyio.sleep(2 * LEASE)
    assert not provider.asked
    (use,) = await limiter.snapshot([Demand(Scope("fake", "default"), quota)])
    assert use.used == 0


async def test_case_07_a_lookup_of_a_lost_lease_is_broken_off(
    make_engine: EngineFactory, make_process: ProcessFactory, backend: MemoryBackend, clock: VirtualClock
) -> None:
    provider = LongProvider(clock=clock, capabilities=Capabilities(create_identity=CreateIdentity.LOOKUP))
    first = make_process()
    first.options["providers"] = [FakeProvider(clock=clock, capabilities=provider.capabilities, latency=SLOW)]
    events: list[Event] = []
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        await host.submit(create(None, n=1))
        tasks.start_soon(first.run)
        await anyio.sleep(1)
        first.kill()
    queue = ForgetfulQueue(backend.queue, clock)
    settings = Settings(grace=0, call_timeout=300)
    async with make_engine(queue=queue, providers=[provider], settings=settings, observers=[events.append]):
        await anyio.sleep(2 * LEASE)
        assert len(provider.broken_off) == 1
        assert sum(isinstance(event, LeaseRefused) for event in events) == 1
