"""The part of the queues' conformance suite that is about how much of one lane may be leased at a time."""

from __future__ import annotations

import anyio

from ratesync.model.work import Claim, ClaimRequest
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import ADA, BOB, complete, items, leases, names, release, submit
from ratesync.testing.queue_part import QueuePart, Timeline


async def bounded(
    queue: QueueBackend, worker: str = "worker", *, most: int = 2, size: int = 1, calls: int = 100
) -> Claim:
    """Claim with at most ``most`` mailboxes of each lane leased at the same time."""
    return await queue.claim(ClaimRequest(worker, calls, {"acme": size}, {"acme": most}))


class QueueBoundSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def test_no_more_of_a_lane_is_leased_than_its_bound(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d"))
        assert names(await bounded(queue)) == "a b"
        assert names(await bounded(queue)) == ""

    async def test_the_bound_cuts_a_batch(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d"))
        assert names(await bounded(queue, most=3, size=2)) == "a b c"

    async def test_the_bound_is_for_all_workers_together(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d"))
        assert names(await bounded(queue, "first", calls=1)) == "a"
        assert names(await bounded(queue, "second")) == "b"
        assert names(await bounded(queue, "third")) == ""

    async def test_a_lane_at_its_bound_leaves_the_others_alone(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c"), *items("x y z", lane=BOB))
        assert sorted(names(await bounded(queue, most=1)).split()) == ["a", "x"]

    async def test_each_settled_lease_makes_room(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d"))
        first, second = leases(await bounded(queue))
        await complete(queue, [first])
        assert names(await bounded(queue)) == "c"
        await release(queue, [second])
        assert names(await bounded(queue)) == "b"

    async def test_a_lane_at_its_bound_does_not_keep_a_worker_awake(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        await submit(queue, *items("a b c"))
        claimed = await bounded(queue)
        idle = await bounded(queue)
        assert idle.next_at is None
        with timeline.takes(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(queue.wait, idle.marker, None)
                await timeline.sleep(3)
                await complete(queue, leases(claimed)[:1])
        assert names(await bounded(queue)) == "c"

    async def test_what_a_dead_worker_held_makes_room(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a b c"))
        await bounded(queue, "dead")
        await timeline.sleep(16)
        assert names(await bounded(queue, "heir")) == "a b"

    async def test_without_a_bound_all_is_leased(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d", lane=ADA))
        assert names(await queue.claim(ClaimRequest("worker", 100, {"acme": 1}))) == "a b c d"

    async def test_the_bound_is_that_of_the_claim(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c d e f"))
        assert names(await bounded(queue, most=2)) == "a b"
        assert names(await bounded(queue, most=2)) == ""
        assert names(await bounded(queue, most=3)) == "c"
        assert names(await bounded(queue, most=1)) == ""
        assert names(await queue.claim(ClaimRequest("worker", 1, {"acme": 1}))) == "d"
        assert names(await queue.claim(ClaimRequest("worker", 2, {"acme": 1}, {"elsewhere": 1}))) == "e f"

    async def test_room_below_any_bound_wakes_those_it_held_up(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a b c d"))
        taken = leases(await bounded(queue, "broad", most=3))
        assert names(taken) == "a b c"
        idle = await bounded(queue, "narrow", most=1)
        assert names(idle) == ""
        assert names(await bounded(queue, "broad", most=3)) == ""
        with timeline.limit(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(queue.wait, idle.marker, None)
                await timeline.sleep(1)
                await complete(queue, taken, "broad")
        assert names(await bounded(queue, "narrow", most=1)) == "d"
