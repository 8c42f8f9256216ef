"""Case 70 of the failure catalogue: no room in the queue, and none for dead letters. Nothing is ever dropped."""

from __future__ import annotations

import anyio
import pytest

from ratesync import Applied, Operation, Rejected
from ratesync.errors import DeadLettersFull, QueueFull
from ratesync.memory import MemoryQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import EngineFactory, NotingProvider, upsert

pytestmark = pytest.mark.anyio


def refused(record_id: str, connection: str = "default") -> Operation:
    """An operation that the provider rejects: there is no such record."""
    return Operation.update("fake", "contacts", record_id, {"n": 1}, connection=connection)


async def test_case_70_a_full_queue_refuses_at_once_or_at_the_deadline(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    async with make_engine(queue=MemoryQueue(clock=clock, capacity=3), role="submit") as engine:
        await engine.submit_many([upsert(str(number)) for number in range(3)])
        with pytest.raises(QueueFull) as caught:
            await engine.submit(upsert("3"))
        assert caught.value.capacity == 3
        started_at = clock.now()
        with pytest.raises(QueueFull):
            await engine.submit(upsert("3"), wait=5)
        assert clock.now() - started_at == pytest.approx(5, abs=0.01)
        # More than there is room for at all: waiting would never end.
        with pytest.raises(QueueFull):
            await engine.submit_many([upsert(str(number)) for number in range(4)], wait=1000)
        assert clock.now() - started_at == pytest.approx(5, abs=0.01)
        assert (await engine.stats()).pending == 3


async def test_case_70_all_or_none_of_a_submission_finds_room(make_engine: EngineFactory, clock: VirtualClock) -> None:
    async with make_engine(queue=MemoryQueue(clock=clock, capacity=5), role="submit") as engine:
        await engine.submit_many([upsert(str(number)) for number in range(3)])
        with pytest.raises(QueueFull):
            await engine.submit_many([upsert(str(number)) for number in range(3)])
        assert (await engine.stats()).pending == 3
        await engine.submit_many([upsert(str(number)) for number in range(2)])
        assert (await engine.stats()).pending == 5


async def test_case_70_hosts_that_wait_for_room_all_get_it(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    """A queue of 10, and 300 operations from 30 producers: it is never overfull, and all of them arrive."""
    queue = MemoryQueue(clock=clock, capacity=10)
    most = 0
    async with make_engine(queue=queue) as engine:

        async def produce(name: int) -> None:
            nonlocal most
            for number in range(10):
                await engine.submit(upsert(f"{name}-{number}", n=number), wait=600)
                most = max(most, (await engine.stats()).pending)

        async with anyio.create_task_group() as producers:
            for name in range(30):
                producers.start_soon(produce, name)
        assert await engine.drain(timeout=600)
    assert most <= 10
    assert len(provider.records) == 300


async def test_case_70_full_dead_letters_stop_intake_until_somebody_looked(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    queue = MemoryQueue(clock=clock, dead_letter_capacity=2)
    async with make_engine(queue=queue) as engine:
        tickets = await engine.submit_many([refused(str(number)) for number in range(5)])
        assert [type(await ticket.outcome(timeout=60)) for ticket in tickets] == [Rejected] * 5
        # What was accepted before is kept, though it is more than there should be.
        letters = await engine.dead_letters()
        assert [letter.operation.record_id for letter in letters] == ["0", "1", "2", "3", "4"]
        with pytest.raises(DeadLettersFull) as caught:
            await engine.submit(upsert("new"))
        assert isinstance(caught.value, QueueFull)
        assert caught.value.capacity == 2
        with pytest.raises(DeadLettersFull):
            await engine.submit(upsert("new"), wait=5)
        assert (await engine.stats()).pending == 0
        assert all(await engine.discard([letter.id for letter in letters[:4]]))
        assert isinstance(await (await engine.submit(upsert("new"))).outcome(timeout=60), Applied)
        assert [letter.id for letter in await engine.dead_letters()] == [letters[4].id]


async def test_case_70_one_lanes_dead_letters_do_not_stop_the_others(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """One bad lane never stops another: only the lane that fills the dead letters is refused."""
    queue = MemoryQueue(clock=clock, dead_letter_capacity=2)
    async with make_engine(queue=queue) as engine:
        await engine.submit_many([refused(str(number), connection="bad") for number in range(5)])
        assert await engine.drain(timeout=60)
        with pytest.raises(DeadLettersFull):
            await engine.submit(upsert("1", connection="bad"))
        ticket = await engine.submit(upsert("1", connection="good"))
        assert isinstance(await ticket.outcome(timeout=60), Applied)
