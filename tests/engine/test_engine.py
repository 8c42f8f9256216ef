"""What a host does with an engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from ratesync import (
    Applied,
    Batch,
    CancelResult,
    Capabilities,
    Concurrency,
    ConditionalWrite,
    Conflict,
    Kind,
    Operation,
    OperationState,
    Outcome,
    Rate,
    Rejected,
    Settings,
)
from ratesync.errors import EngineClosed, OperationCancelled, OperationNotFound, OutcomeTimeout, QueueFull, Unauthorised
from ratesync.memory import MemoryBackend
from ratesync.model.event import Event, LanePaused, Submitted
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio


def update(record_id: str, **fields: object) -> Operation:
    return Operation.update("fake", "contacts", record_id, fields)


def create(record_id: str, **fields: object) -> Operation:
    return Operation.create("fake", "contacts", fields, record_id=record_id)


async def test_operations_of_every_kind_reach_the_provider(make_engine: EngineFactory, provider: FakeProvider) -> None:
    async with make_engine() as engine:
        assert await (await engine.submit(create("1", name="Ada"))).outcome() == Applied("1", "1")
        assert await (await engine.submit(update("1", age=36))).outcome() == Applied("1", "2")
        read = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome()
        assert isinstance(read, Applied)
        assert read.record is not None
        assert read.record.fields == {"name": "Ada", "age": 36}
        await (await engine.submit(Operation.upsert("fake", "contacts", "2", {"name": "Bob"}))).outcome()
        await (await engine.submit(Operation.delete("fake", "contacts", "1"))).outcome()
    assert {key[2]: dict(record.fields) for key, record in provider.records.items()} == {"2": {"name": "Bob"}}


async def test_a_record_waiting_gets_its_updates_folded_into_one_call(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    async with make_engine() as engine:
        await engine.pause()
        tickets = await engine.submit_many([create("1", n=0), update("1", n=1), update("1", m=2)])
        await engine.resume()
        assert [await ticket.outcome() for ticket in tickets] == [Applied("1", "1")] * 3
    assert [(write.kind, dict(write.fields)) for write in provider.writes] == [(Kind.CREATE, {"n": 1, "m": 2})]


async def test_a_record_created_and_deleted_while_waiting_is_never_sent(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    async with make_engine() as engine:
        await engine.pause()
        tickets = await engine.submit_many([create("1", n=0), Operation.delete("fake", "contacts", "1")])
        await engine.resume()
        assert [await ticket.outcome() for ticket in tickets] == [Applied(), Applied()]
    assert provider.calls == 0


async def test_different_records_travel_in_batches(make_engine: EngineFactory, provider: FakeProvider) -> None:
    async with make_engine() as engine:
        await engine.submit_many([create(str(number)) for number in range(100)])
        assert await engine.drain(timeout=60)
    assert provider.calls == 100 / provider.capabilities.largest


async def test_what_the_block_raises_comes_out_as_it_is(make_engine: EngineFactory) -> None:
    async def host() -> None:
        async with make_engine() as engine:
            await engine.submit(create("1"))
            raise KeyError("host")

    with pytest.raises(KeyError, match="host"):
        await host()


async def test_a_cancelled_block_leaves_at_once_and_gives_work_back(
    make_engine: EngineFactory, backend: MemoryBackend, clock: VirtualClock, provider: FakeProvider
) -> None:
    provider.latency = (100.0, 100.0)
    with anyio.move_on_after(1) as scope:
        async with make_engine() as engine:
            await engine.submit(create("1"))
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    started_at = clock.now()
    provider.latency = (0.0, 0.0)
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
    assert clock.now() - started_at < 1  # no lease had to lapse


async def test_leaving_lets_calls_finish_within_the_grace(make_engine: EngineFactory, provider: FakeProvider) -> None:
    provider.latency = (5.0, 5.0)
    async with make_engine(settings=Settings(grace=10)) as engine:
        ticket = await engine.submit(create("1"))
        await anyio.sleep(1)
    assert len(provider.writes) == 1
    async with make_engine(role="submit") as engine:
        assert (await engine.status(ticket.id)).state is OperationState.COMPLETED


async def test_leaving_breaks_calls_off_after_the_grace(
    make_engine: EngineFactory, provider: FakeProvider, clock: VirtualClock
) -> None:
    provider.latency = (500.0, 500.0)
    async with make_engine(settings=Settings(grace=3, call_timeout=1000)) as engine:
        ticket = await engine.submit(create("1"))
        await anyio.sleep(1)
        left_at = clock.now()
    assert 3 <= clock.now() - left_at <= 4
    async with make_engine(role="submit") as engine:
        status = await engine.status(ticket.id)
    assert status.state is OperationState.RETRYABLE
    assert status.attempts == 0


async def test_a_submitting_engine_leaves_the_work_to_a_working_one(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    async with make_engine(role="submit") as web:
        ticket = await web.submit(create("1"))
        await anyio.sleep(60)
        assert provider.calls == 0
        with pytest.raises(OutcomeTimeout):
            await ticket.outcome(timeout=1)
        async with make_engine(role="work") as worker:
            assert await ticket.outcome(timeout=60) == Applied("1", "1")
            with pytest.raises(EngineClosed, match="only works"):
                await worker.submit(create("2"))


async def test_an_engine_is_used_inside_its_block_and_entered_once(make_engine: EngineFactory) -> None:
    engine = make_engine()
    with pytest.raises(EngineClosed):
        await engine.submit(create("1"))
    async with engine:
        pass
    with pytest.raises(EngineClosed):
        await engine.stats()
    with pytest.raises(EngineClosed, match="once"):
        async with engine:
            pass


async def test_a_full_queue_refuses_or_lets_wait(make_engine: EngineFactory, clock: VirtualClock) -> None:
    async with make_engine(backend=MemoryBackend(clock=clock, capacity=2)) as engine:
        await engine.pause()
        await engine.submit_many([create("1"), create("2")])
        with pytest.raises(QueueFull):
            await engine.submit(create("3"))
        with pytest.raises(QueueFull):
            await engine.submit(create("3"), wait=5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.submit, create("3"))
            tasks.cancel_scope.cancel()
        assert (await engine.stats()).pending == 2
        await engine.resume()
        await engine.submit(create("3"), wait=60)
        assert await engine.drain(timeout=60)


async def test_the_same_id_twice_is_one_operation(make_engine: EngineFactory, provider: FakeProvider) -> None:
    operation = Operation.create("fake", "contacts", {"n": 1}, record_id="1", id="mine")
    async with make_engine() as engine:
        first, second = await engine.submit_many([operation, operation])
        assert (first.id, second.id) == ("mine", "mine")
        assert await engine.drain(timeout=60)
        third = await engine.submit(operation)
        assert third.duplicate
        assert await third.outcome() == Applied("1", "1")
    assert len(provider.writes) == 1


async def test_cancelling_takes_back_what_is_not_being_carried_out(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    async with make_engine() as engine:
        await engine.pause()
        ticket = await engine.submit(create("1"))
        assert await ticket.cancel() is CancelResult.CANCELLED
        assert await engine.cancel(ticket.id) is CancelResult.FINISHED
        assert await engine.cancel("nobody") is CancelResult.UNKNOWN
        await engine.resume()
        with pytest.raises(OperationCancelled):
            await ticket.outcome()
        assert (await ticket.status()).state is OperationState.CANCELLED
    assert provider.calls == 0


async def test_pausing_a_lane_leaves_the_others_alone(make_engine: EngineFactory, provider: FakeProvider) -> None:
    async with make_engine() as engine:
        await engine.pause("fake", "a")
        await engine.submit_many(
            [Operation.upsert("fake", "contacts", "1", {}, connection=connection) for connection in "ab"]
        )
        assert await engine.drain("fake", "b", timeout=60)
        assert not await engine.drain("fake", "a", timeout=60)
        assert [write.connection for write in provider.writes] == ["b"]
        await engine.resume("fake")
        assert await engine.drain(timeout=60)


async def test_a_scheduled_operation_waits_for_its_instant(
    make_engine: EngineFactory, provider: FakeProvider, clock: VirtualClock
) -> None:
    due = datetime.fromtimestamp(clock.now(), UTC) + timedelta(hours=1)
    async with make_engine() as engine:
        ticket = await engine.submit(Operation.upsert("fake", "contacts", "1", {}, not_before=due))
        assert (await ticket.status()).state is OperationState.SCHEDULED
        await ticket.outcome()
    assert 0 <= provider.writes[0].at - due.timestamp() < 1


async def test_higher_priority_goes_first(make_engine: EngineFactory, provider: FakeProvider) -> None:
    async with make_engine(settings=Settings(max_calls=1)) as engine:
        await engine.pause()
        await engine.submit_many([Operation.upsert("fake", "a", str(number), {}) for number in range(30)])
        await engine.submit(Operation.upsert("fake", "b", "urgent", {}, priority=5))
        await engine.resume()
        assert await engine.drain(timeout=60)
    assert "urgent" in [write.record_id for write in provider.writes[:11]]


async def test_dead_letters_are_listed_replayed_and_discarded(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    async with make_engine() as engine:
        tickets = await engine.submit_many([update("absent", n=1), update("gone", n=1)])
        assert [type(await ticket.outcome()) for ticket in tickets] == [Rejected, Rejected]
        letters = await engine.dead_letters("fake")
        assert [letter.operation.record_id for letter in letters] == ["absent", "gone"]
        assert [letter.outcome for letter in letters] == [Rejected("no such record", "404")] * 2
        assert await engine.dead_letters("fake", after=letters[1].id) == []
        assert await engine.discard([letters[1].id, "nobody"]) == [True, False]
        with pytest.raises(OperationNotFound):
            await tickets[1].status()
        await (await engine.submit(create("absent"))).outcome()
        assert await engine.replay([letters[0].id]) == [True]
        assert await tickets[0].outcome() == Applied("absent", "2")
        assert await engine.dead_letters() == []


async def test_a_write_on_a_version_that_has_passed_conflicts(make_engine: EngineFactory, clock: VirtualClock) -> None:
    provider = FakeProvider(capabilities=Capabilities(conditional_write=ConditionalWrite.STRONG), clock=clock)
    async with make_engine(providers=[provider]) as engine:
        await (await engine.submit(create("1", n=0))).outcome()
        stale = Operation.update("fake", "contacts", "1", {"n": 2}, if_version="0")
        outcome = await (await engine.submit(stale)).outcome()
    assert isinstance(outcome, Conflict)
    assert outcome.current is not None
    assert outcome.current.fields == {"n": 0}


async def test_a_tickets_outcome_outlives_the_queues_retention(
    make_engine: EngineFactory, backend: MemoryBackend
) -> None:
    async with make_engine(queue=type(backend.queue)(clock=VirtualClock(), result_capacity=1)) as engine:
        tickets = await engine.submit_many([create(str(number)) for number in range(5)])
        assert await engine.drain(timeout=60)
        assert [type(await ticket.outcome()) for ticket in tickets] == [Applied] * 5


@pytest.mark.parametrize("quota", [Rate(5, per=1.0), Concurrency(2)])
async def test_quotas_are_kept_and_used(
    make_engine: EngineFactory, clock: VirtualClock, quota: Rate | Concurrency
) -> None:
    provider = FakeProvider(capabilities=Capabilities(batch_max=1), clock=clock, latency=(0.1, 0.1))
    started_at = clock.now()
    async with make_engine(providers=[provider], quotas={"fake": [quota]}) as engine:
        await engine.submit_many([create(str(number)) for number in range(50)])
        assert await engine.drain(timeout=600)
    took = clock.now() - started_at
    if isinstance(quota, Concurrency):
        assert provider.most_at_once == 2
        assert took == pytest.approx(50 / 2 * 0.1, rel=0.1)
    else:
        arrivals = [at for at, _ in provider.arrivals]
        assert all(later - earlier >= 1.0 for earlier, later in zip(arrivals, arrivals[5:], strict=False))
        assert took < 12


async def test_refused_credentials_pause_the_lane_until_it_is_resumed(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:

    class Locked(FakeProvider):
        locked = True

        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            if self.locked:
                self.calls += 1
                raise Unauthorised("401")
            return await super().execute(batch)

    provider = Locked(clock=clock)
    events: list[Event] = []
    async with make_engine(providers=[provider], observers=[events.append]) as engine:
        await engine.submit(create("1"))
        assert not await engine.drain(timeout=3600)
        assert provider.calls == 1
        assert [event for event in events if isinstance(event, LanePaused)]
        provider.locked = False
        await engine.resume("fake", "default")
        assert await engine.drain(timeout=60)


async def test_every_fault_at_once_loses_nothing(make_engine: EngineFactory, clock: VirtualClock) -> None:
    faults = Faults(throttled=0.1, unavailable=0.1, not_sent=0.1, lost_answer=0.1, hang=0.05, crash=0.1)
    provider = FakeProvider(faults=faults, clock=clock)
    events: list[Event] = []
    async with make_engine(providers=[provider], observers=[events.append]) as engine:
        await engine.submit_many([create(str(number), n=number) for number in range(200)])
        assert await engine.drain(timeout=7200)
        assert await engine.dead_letters() == []
    assert {key[2]: record.fields["n"] for key, record in provider.records.items()} == {
        str(number): number for number in range(200)
    }
    assert sum(event.count for event in events if isinstance(event, Submitted)) == 200
