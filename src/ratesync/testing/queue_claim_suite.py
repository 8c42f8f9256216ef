"""The part of the queues' conformance suite that is about what a claim gives, and in which order."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import LeasedItem
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    ELSEWHERE,
    attempted,
    claim,
    complete,
    count,
    ended,
    entry,
    item,
    items,
    leases,
    names,
    only,
    release,
    settle,
    state,
    submit,
    take,
    take_one,
)
from ratesync.testing.queue_part import MakeQueue, QueuePart, Timeline


class QueueClaimSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def test_an_empty_queue_gives_nothing_and_does_not_wait(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        with timeline.takes(0):
            claimed = await claim(queue)
        assert claimed.batches == ()
        assert claimed.next_at is None

    async def test_a_lease_has_the_items_of_its_mailbox(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", "record", body=b"body"))
        lease = await take_one(queue)
        assert (lease.lane, lease.key) == (ADA, "record")
        assert lease.items == (
            LeasedItem(
                id="a",
                body=b"body",
                attempts=0,
                sent_as=0,
                lapses=0,
                enqueued_at=(await entry(queue, "a")).enqueued_at,
            ),
        )

    async def test_a_claimed_item_is_leased(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b"))
        await take_one(queue)
        assert await state(queue, "a") is OperationState.LEASED
        stats = await count(queue)
        assert (stats.leased, stats.available, stats.pending) == (1, 1, 2)

    async def test_a_batch_is_of_one_lane_and_at_most_as_large_as_asked_for(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d e"), *items("f g h", lane=BOB), *items("i", lane=ELSEWHERE))
        claimed = await claim(queue, size=2, providers=["acme", "elsewhere"])
        assert sorted(len(batch) for batch in claimed.batches) == [1, 1, 1, 2, 2, 2]
        assert all(len({lease.lane for lease in batch}) == 1 for batch in claimed.batches)
        assert sorted(names(claimed).split()) == list("abcdefghi")

    async def test_sizes_are_those_of_the_lanes_provider(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d"), *items("e f g h", lane=ELSEWHERE))
        await submit(queue, *items("x", lane=Lane("a third", "ada")))
        request = await claim(queue, size=3, providers=["acme"], calls=1)
        assert names(request) == "a b c"
        request = await claim(queue, size=1, providers=["elsewhere"], calls=2)
        assert [len(batch) for batch in request.batches] == [1, 1]

    async def test_there_are_at_most_as_many_batches_as_asked_for(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d e f"))
        assert [len(batch) for batch in (await claim(queue, calls=2, size=2)).batches] == [2, 2]
        assert names(await claim(queue, calls=2, size=2)) == "e f"

    async def test_one_lane_may_have_several_batches(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c"))
        assert [names(list(batch)) for batch in (await claim(queue, size=1)).batches] == ["a", "b", "c"]

    async def test_other_providers_are_left_alone(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a"), *items("b", lane=ELSEWHERE))
        assert names(await claim(queue, providers=["elsewhere"])) == "b"
        assert names(await claim(queue, providers=[])) == ""
        assert await state(queue, "a") is OperationState.AVAILABLE

    async def test_a_mailbox_is_leased_whole_and_in_order(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a1", "a"), *items("b1", "b"), *items("a2 a3", "a"))
        assert [names(lease) for lease in await take(queue)] == ["a1 a2 a3", "b1"]

    async def test_keys_of_different_lanes_are_different(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", "key"), item("b", "key", lane=BOB))
        assert [names(lease) for lease in await take(queue)] == ["a", "b"]

    async def test_a_mailbox_has_one_holder(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a1", "a"), item("b"))
        lease = await take_one(queue)
        await submit(queue, *items("a2", "a"))
        assert names(await claim(queue, "other")) == "b"
        assert names(await claim(queue)) == ""
        await complete(queue, [lease])
        assert names(await claim(queue, "other")) == "a2"

    async def test_what_comes_while_it_is_held_comes_behind_what_goes_back(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a1 a2", "a"))
        lease = await take_one(queue)
        await submit(queue, *items("a3", "a"))
        await release(queue, [lease])
        await submit(queue, *items("a4", "a"))
        assert names(await take_one(queue)) == "a1 a2 a3 a4"

    async def test_a_long_mailbox_is_leased_in_parts(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(mailbox_max=2)
        await submit(queue, *items("a1 a2 a3 a4 a5", "a"))
        for part in ("a1 a2", "a3 a4", "a5"):
            taken = await take(queue)
            assert names(taken) == part
            await complete(queue, taken)
        assert names(await claim(queue)) == ""

    async def test_what_is_finished_leaves_the_others_in_order(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(mailbox_max=4)
        await submit(queue, *items("a1 a2 a3 a4 a5", "a"))
        assert await settle(queue, ended(await take_one(queue), only_ids="a2 a4"))
        assert names(await take_one(queue)) == "a1 a3 a5"

    async def test_bodies_of_a_claim_are_bounded_in_bytes(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(claim_bytes=1000)
        for new in [*items("a1 a2 a3", "a"), *items("b c d e", None)]:
            await submit(queue, item(new.id, new.key, body=bytes(300)))
        assert names(await claim(queue)) == "a1 a2 a3"
        claimed = await claim(queue)
        assert names(claimed) == "b c d"
        assert claimed.next_at is not None, "there is more to claim at once"
        await queue.wait(claimed.marker, claimed.next_at)
        assert names(await claim(queue)) == "e"

    async def test_a_mailbox_is_cut_where_the_bytes_are_used_up(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(claim_bytes=1000)
        for name in ("a1", "a2", "a3"):
            await submit(queue, item(name, "a", body=bytes(400)))
        lease = await take_one(queue)
        assert names(lease) == "a1 a2"
        await complete(queue, [lease])
        assert names(await take_one(queue)) == "a3"

    async def test_a_body_of_any_size_is_claimed(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(claim_bytes=1000)
        for name in ("small", "large", "last"):
            await submit(queue, item(name, body=bytes(5000 if name == "large" else 10)))
        assert [names(await take(queue)) for _ in range(3)] == ["small", "large", "last"]

    async def test_who_came_first_is_claimed_first(self, queue: QueueBackend, timeline: Timeline) -> None:
        for name in ("a", "b", "c"):
            await submit(queue, *items(f"{name}1 {name}2"))
            await timeline.sleep(0.1)
        assert names(await claim(queue, calls=1, size=4)) == "a1 a2 b1 b2"
        assert names(await claim(queue)) == "c1 c2"

    async def test_higher_priority_goes_first(self, queue: QueueBackend) -> None:
        await submit(queue, *(item(f"p{priority}", priority=priority) for priority in (0, 2, -1, 1, 0, 2)))
        await submit(queue, item("p0.", priority=0), item("p2.", priority=2))
        assert names(await claim(queue)) == "p2 p2. p1 p0 p0. p-1"

    async def test_waiting_is_worth_priority(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(priority_step=10.0)
        await submit(queue, item("old"))
        await timeline.sleep(8)
        await submit(queue, item("high", priority=1))
        await timeline.sleep(4)
        await submit(queue, item("late", priority=1))
        assert names(await claim(queue)) == "high old late"

    async def test_a_mailbox_is_as_urgent_as_its_most_urgent_item(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b"), item("c1", "c"), item("c2", "c", priority=1), item("c3", "c"))
        assert names(await claim(queue)) == "c1 c2 c3 a b"

    async def test_a_mailbox_is_as_urgent_as_what_is_left_of_it(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(mailbox_max=1)
        await submit(queue, item("a1", "a"), item("b", priority=1), item("a2", "a", priority=2), item("a3", "a"))
        order: list[str] = []
        while taken := await take(queue, calls=1, size=1):
            order.append(names(taken))
            await complete(queue, taken)
        assert order == ["a1", "a2", "b", "a3"]

    async def test_what_goes_back_goes_to_the_front(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a b c d"))
        first, second = await take(queue, calls=2, size=1)
        await timeline.sleep(1)
        await submit(queue, *items("e"))
        await release(queue, [second, first])
        assert names(await claim(queue)) == "a b c d e"

    async def test_what_goes_back_keeps_its_priority(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"), item("b", priority=1), item("c", priority=2))
        taken = await take(queue)
        assert await settle(queue, attempted(taken[2]))
        await release(queue, taken[:2])
        await submit(queue, item("d", priority=1))
        assert names(await claim(queue)) == "c b d a"

    async def test_many_workers_never_share_a_mailbox(self, queue: QueueBackend) -> None:
        """All of them claim and settle at once, again and again; items of a key must come one at a time, in order."""
        keys, rounds = 20, 10
        for number in range(rounds):
            await submit(queue, *(item(f"{key}.{number}", f"{key}") for key in range(keys)))
        held: set[str] = set()
        done: dict[str, list[int]] = {str(key): [] for key in range(keys)}

        async def work(worker: str) -> None:
            turn = 0
            while sum(map(len, done.values())) < keys * rounds:
                turn += 1
                assert turn < 100 * rounds * keys, "it gets nowhere"
                for lease in await take(queue, worker, calls=2, size=2):
                    assert lease.key not in held
                    held.add(lease.key)
                    await anyio.lowlevel.checkpoint()
                    held.remove(lease.key)
                    if (turn + len(worker)) % 3 == 0:
                        await release(queue, [lease], worker)
                        continue
                    first = lease.items[0].id
                    done[lease.key].append(int(first.split(".")[1]))
                    assert await settle(queue, ended(lease, only_ids=first), worker)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(work, "w" * (number + 1))
        assert done == {str(key): list(range(rounds)) for key in range(keys)}

    async def test_many_claims_at_once_give_each_item_once(self, queue: QueueBackend) -> None:
        await submit(queue, *(item(f"i{number:03}") for number in range(300)))
        taken: list[str] = []

        async def work(worker: str) -> None:
            for _ in range(10):
                taken.extend(only(lease).id for lease in leases(await claim(queue, worker, calls=2, size=3)))

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(work, f"w{number}")
        assert sorted(taken) == [f"i{number:03}" for number in range(300)]
