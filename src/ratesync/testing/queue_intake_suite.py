"""The part of the queues' conformance suite that is about what comes in: items, duplicates and room for them."""

from __future__ import annotations

import anyio
import pytest

from ratesync.errors import DeadLettersFull, QueueFull
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import Enqueued, Entry, Item, Lease
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    ELSEWHERE,
    EVERYTHING,
    attempted,
    bury,
    claim,
    complete,
    count,
    ended,
    entry,
    is_known,
    item,
    items,
    leases,
    names,
    settle,
    submit,
    take,
    take_one,
)
from ratesync.testing.queue_part import MakeQueue, QueuePart, Timeline


class QueueIntakeSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def test_an_accepted_item_is_known(self, queue: QueueBackend, timeline: Timeline) -> None:
        before = timeline.clock.now()
        await submit(queue, item("a", "record", lane=BOB, body=b"body", priority=3))
        found = await entry(queue, "a")
        assert before <= found.enqueued_at <= timeline.clock.now()
        assert found == Entry(
            id="a",
            lane=BOB,
            key="record",
            state=OperationState.AVAILABLE,
            attempts=0,
            enqueued_at=found.enqueued_at,
            due_at=None,
            finished_at=None,
            body=b"body",
            result=None,
        )

    async def test_each_item_gets_its_answer_in_order(self, queue: QueueBackend) -> None:
        await submit(queue, item("b"))
        assert list(await submit(queue, *items("a b c"))) == [
            Enqueued("a", duplicate=False),
            Enqueued("b", duplicate=True),
            Enqueued("c", duplicate=False),
        ]

    async def test_enqueueing_nothing_is_no_mistake(self, queue: QueueBackend) -> None:
        assert list(await submit(queue)) == []

    async def test_ids_and_results_of_lookups_are_in_order(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b"))
        found = await queue.get(["b", "nobody", "a"])
        assert [one and one.id for one in found] == ["b", None, "a"]

    async def test_a_pending_id_is_a_duplicate(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", body=b"first"))
        assert list(await submit(queue, item("a", "other key", lane=BOB, body=b"second"))) == [
            Enqueued("a", duplicate=True)
        ]
        assert [leased.body for lease in await take(queue) for leased in lease.items] == [b"first"]

    async def test_an_id_may_repeat_within_one_call(self, queue: QueueBackend) -> None:
        answers = await submit(queue, item("a", body=b"first"), item("a", body=b"second"))
        assert [answer.duplicate for answer in answers] == [False, True]
        assert [leased.body for lease in await take(queue) for leased in lease.items] == [b"first"]

    async def test_a_leased_id_is_a_duplicate(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        lease = await take_one(queue)
        assert (await submit(queue, item("a")))[0].duplicate
        await complete(queue, [lease])
        assert names(await claim(queue)) == ""

    async def test_a_retryable_id_is_a_duplicate(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        assert await settle(queue, attempted(await take_one(queue)))
        assert (await submit(queue, item("a")))[0].duplicate
        assert names(await claim(queue)) == "a"

    async def test_a_scheduled_id_is_a_duplicate(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a", not_before=timeline.after(10)))
        assert (await submit(queue, item("a")))[0].duplicate
        assert names(await claim(queue)) == ""

    @pytest.mark.parametrize("end", [OperationState.COMPLETED, OperationState.CANCELLED, OperationState.DEAD])
    async def test_a_finished_id_is_a_duplicate(self, queue: QueueBackend, end: OperationState) -> None:
        await submit(queue, item("a", dedupe="once"))
        assert await settle(queue, ended(await take_one(queue), end))
        assert list(await submit(queue, item("a"), item("b", dedupe="once"))) == [Enqueued("a", duplicate=True)] * 2
        assert names(await claim(queue)) == ""

    async def test_a_dedupe_names_the_earlier_operation(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", dedupe="once"))
        answers = await submit(queue, item("b", dedupe="once"), item("c", dedupe="other"), item("d", dedupe="other"))
        assert list(answers) == [
            Enqueued("a", duplicate=True),
            Enqueued("c", duplicate=False),
            Enqueued("c", duplicate=True),
        ]
        assert names(await claim(queue)) == "a c"
        assert not await is_known(queue, "b")

    async def test_a_dedupe_holds_in_its_lane_only(self, queue: QueueBackend) -> None:
        answers = await submit(
            queue,
            item("a", dedupe="once"),
            item("b", dedupe="once", lane=BOB),
            item("c", dedupe="once", lane=ELSEWHERE),
        )
        assert [answer.duplicate for answer in answers] == [False, False, False]

    async def test_lanes_keys_and_ids_are_any_text(self, queue: QueueBackend) -> None:
        """Names that only differ in where one part ends and the next begins are different."""
        parts = ["a", "b", "a:b", "b:c", "a\0b", "a{b}", "é", "\U0001f600", " ", "*", "a/b", '"']
        lanes = [Lane("acme", part) for part in parts]
        new = [
            item(f"{lane.connection}|{key}", key, lane=lane, body=bytes(range(256))) for lane in lanes for key in parts
        ]
        assert not any(answer.duplicate for answer in await submit(queue, *new))
        taken = await take(queue, calls=1000)
        assert {(lease.lane, lease.key, leased.id) for lease in taken for leased in lease.items} == {
            (one.lane, one.key, one.id) for one in new
        }
        assert {leased.body for lease in taken for leased in lease.items} == {bytes(range(256))}

    async def test_an_empty_body_comes_back_empty(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", body=b""))
        assert (await take_one(queue)).items[0].body == b""

    async def test_without_room_nothing_is_enqueued(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(capacity=3)
        await submit(queue, *items("a b"))
        with pytest.raises(QueueFull) as error:
            await submit(queue, *items("c d"))
        assert error.value.capacity == 3
        assert not isinstance(error.value, DeadLettersFull)
        assert await queue.get(["c", "d"]) == [None, None]
        await submit(queue, item("e"))
        assert (await count(queue)).pending == 3

    async def test_everything_pending_needs_room(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=4)
        await submit(queue, item("retryable"))
        assert await settle(queue, attempted(await take_one(queue), resume_at=timeline.after(10)))
        await submit(queue, item("leased"))
        await take_one(queue)
        await submit(queue, item("available"), item("scheduled", not_before=timeline.after(10)))
        with pytest.raises(QueueFull):
            await submit(queue, item("one more"))

    async def test_duplicates_need_no_room(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(capacity=2)
        await submit(queue, item("a", dedupe="once"), item("b"))
        answers = await submit(queue, item("b"), item("c", dedupe="once"), item("a"))
        assert [answer.id for answer in answers] == ["b", "a", "a"]

    async def test_a_repeated_id_needs_room_once(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(capacity=2)
        await submit(queue, item("a"), item("a"), item("b"), item("b"))
        assert (await count(queue)).pending == 2

    async def test_more_than_the_capacity_is_refused_at_once(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=2)
        with timeline.takes(0), pytest.raises(QueueFull):
            await queue.enqueue(items("a b c"), wait_until=timeline.after(50))
        assert (await count(queue)).pending == 0

    async def test_it_waits_for_room(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=2)
        await submit(queue, *items("a b"))
        taken = await take(queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.enqueue, queue, "c d", timeline.after(50))
            await timeline.sleep(2)
            assert not await is_known(queue, "c")
            await complete(queue, taken[:1])
            await timeline.sleep(2)
            assert not await is_known(queue, "c")
            await complete(queue, taken[1:])
            with timeline.limit(2):
                await self.known(queue, "c d")
        assert names(await claim(queue)) == "c d"

    @pytest.mark.parametrize("way", ["cancelled", "dead", "wish"])
    async def test_every_end_makes_room(self, make_queue: MakeQueue, timeline: Timeline, way: str) -> None:
        queue = await make_queue(capacity=1)
        await submit(queue, item("a"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.enqueue, queue, "b", timeline.after(50))
            await timeline.sleep(1)
            if way == "wish":
                await queue.cancel(["a"])
            else:
                await settle(queue, ended(await take_one(queue), OperationState(way)))
            with timeline.limit(2):
                await self.known(queue, "b")

    async def test_waiting_for_room_ends_at_its_instant(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=1)
        await submit(queue, item("a"))
        with timeline.takes(3), pytest.raises(QueueFull):
            await queue.enqueue(items("b"), wait_until=timeline.after(3))
        assert not await is_known(queue, "b")

    async def test_who_waited_too_long_stands_in_nobodys_way(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=3)
        await submit(queue, *items("a b"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.enqueue_in_vain, queue, "large1 large2", timeline.after(3))
            await timeline.sleep(1)
            tasks.start_soon(self.enqueue, queue, "small", timeline.after(50))
            await timeline.sleep(1)
            assert not await is_known(queue, "small")
            with timeline.limit(4):
                await self.known(queue, "small")

    async def test_who_came_first_gets_room_first(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        """However much the first one wants, and however little those behind."""
        queue = await make_queue(capacity=3)
        await submit(queue, *items("a b"))
        taken = await take(queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.enqueue, queue, "large1 large2 large3", timeline.after(50))
            await timeline.sleep(1)
            tasks.start_soon(self.enqueue, queue, "small", timeline.after(50))
            await timeline.sleep(1)
            with pytest.raises(QueueFull):
                await submit(queue, item("hasty"))
            await complete(queue, taken[:1])
            await timeline.sleep(1)
            assert (await count(queue)).pending == 1
            await complete(queue, taken[1:])
            with timeline.limit(2):
                await self.known(queue, "large1 large2 large3")
            await timeline.sleep(1)
            assert not await is_known(queue, "small")
            await complete(queue, (await take(queue))[:1])
            with timeline.limit(2):
                await self.known(queue, "small")

    async def test_a_cancelled_wait_leaves_no_trace(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=3)
        await submit(queue, *items("a b"))
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(2 * self.second):
                await queue.enqueue(items("large1 large2"), wait_until=timeline.after(50))
            tasks.start_soon(self.enqueue, queue, "small", timeline.after(50))
            with timeline.limit(2):
                await self.known(queue, "small")
        assert await queue.get(["large1", "large2"]) == [None, None]
        assert (await count(queue)).pending == 3

    async def test_many_wait_and_all_get_room(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(capacity=5)
        waiting = [f"w{number}.{part}" for number in range(20) for part in range(1 + number % 5)]
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                own = " ".join(name for name in waiting if name.startswith(f"w{number}."))
                tasks.start_soon(self.enqueue, queue, own, timeline.after(100))
            done = 0
            with timeline.limit(50):
                while done < len(waiting):
                    taken = await take(queue)
                    assert (await count(queue)).pending <= 5
                    done += len(taken)
                    await complete(queue, taken)
                    await anyio.sleep(0.01 * self.second)

    async def test_too_many_dead_letters_stop_the_intake(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(dead_letter_capacity=2)
        await submit(queue, item("pending"))
        lease = await take_one(queue)
        await bury(queue, *items("a b"))
        with timeline.takes(0), pytest.raises(DeadLettersFull) as error:
            await queue.enqueue(items("pending new"), wait_until=timeline.after(50))
        assert error.value.capacity == 2
        assert not await is_known(queue, "new")
        assert (await submit(queue, *items("a pending")))[0].duplicate
        assert await settle(queue, ended(lease, OperationState.DEAD)), "what was accepted is settled in any case"
        await queue.discard(["a"])
        with pytest.raises(DeadLettersFull):
            await submit(queue, item("new"))
        await queue.replay(["b"])
        await submit(queue, item("new"))

    async def test_dead_letters_stop_the_intake_of_their_own_lanes_only(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(dead_letter_capacity=2)
        await bury(queue, *items("a b"))
        await submit(queue, item("c", lane=BOB), item("a"), item("b", lane=ELSEWHERE))
        with pytest.raises(DeadLettersFull):
            await submit(queue, item("d", lane=BOB), item("e"))
        assert await queue.get(["d", "e"]) == [None, None]
        assert names(await claim(queue)) == "c"

    async def test_an_item_is_kept_as_it_was_given(self, queue: QueueBackend) -> None:
        """Whatever becomes of the caller's objects."""
        new: list[Item] = items("a b")
        await queue.enqueue(new)
        new.clear()
        taken: list[Lease] = leases(await claim(queue))
        assert [(leased.id, leased.body) for lease in taken for leased in lease.items] == [("a", b"a"), ("b", b"b")]
        assert (await queue.stats(EVERYTHING)).leased == 2
        assert {lease.lane for lease in taken} == {ADA}

    async def enqueue(self, queue: QueueBackend, new: str, until: float) -> None:
        """Wait for room."""
        answers = await queue.enqueue(items(new), wait_until=until)
        assert [answer.id for answer in answers] == new.split()

    async def enqueue_in_vain(self, queue: QueueBackend, new: str, until: float) -> None:
        """Wait for room that does not come."""
        with pytest.raises(QueueFull):
            await queue.enqueue(items(new), wait_until=until)

    async def known(self, queue: QueueBackend, ids: str) -> None:
        """Wait until the operations are known."""
        while None in await queue.get(ids.split()):  # noqa: ASYNC110 - the contract has no event of acceptance
            await anyio.sleep(0.05 * self.second)
