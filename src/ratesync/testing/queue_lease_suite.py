"""The part of the queues' conformance suite that is about how leases are kept and lost."""

from __future__ import annotations

import anyio.to_thread
import pytest

from ratesync.model.operation import OperationState
from ratesync.model.work import CancelResult, Lease, Settlement
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    BOB,
    attempted,
    claim,
    complete,
    ended,
    entry,
    item,
    items,
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


class QueueLeaseSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def test_a_silent_worker_loses_its_leases(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Cases 1, 2 and 5 of the failure catalogue, as seen by the queue."""
        await submit(queue, *items("a1 a2", "a"), item("b", lane=BOB))
        lost = await take(queue, "dead")
        await timeline.sleep(14)
        assert names(await claim(queue, "other")) == ""
        await timeline.sleep(2)
        again = await take(queue, "other")
        tokens = {lease.key: lease.token for lease in lost}
        assert {
            lease.key: [(one.id, one.attempts, one.lapses, one.sent_as) for one in lease.items] for lease in again
        } == {
            "a": [("a1", 0, 1, tokens["a"]), ("a2", 0, 1, tokens["a"])],
            "b": [("b", 0, 1, tokens["b"])],
        }

    async def test_a_worker_that_lost_its_lease_cannot_settle(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Case 7 of the failure catalogue: a worker that was stopped and goes on."""
        await submit(queue, item("a"))
        lost = await take_one(queue, "stopped")
        await timeline.sleep(16)
        new = await take_one(queue, "other")
        assert new.token > lost.token
        before = await entry(queue, "a")
        await queue.extend("stopped")
        queue.keep_alive("stopped")
        assert not await settle(queue, ended(lost), "stopped")
        assert await entry(queue, "a") == before
        assert await settle(queue, ended(new), "other")
        assert not await settle(queue, attempted(lost), "stopped")
        assert await state(queue, "a") is OperationState.COMPLETED

    async def test_a_sign_of_life_tells_which_leases_are_lost(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Case 7 of the failure catalogue: so that it can break off the calls that are in vain."""
        await submit(queue, *items("a b"), item("c", lane=BOB))
        lost = await take(queue, "stopped")
        assert list(await queue.extend("stopped", lost)) == [True] * 3
        await timeline.sleep(16)
        new = await take(queue, "other")
        await submit(queue, *items("d e"))
        held, done = await take(queue, "stopped")
        assert list(await queue.extend("stopped", [lost[0], held, *lost[1:]])) == [False, True, False, False]
        assert await settle(queue, ended(done), "stopped")
        assert list(await queue.extend("stopped", [done, held, *new])) == [False, True, False, False, False]
        assert list(await queue.extend("other", [held, *new])) == [False, True, True, True]
        assert list(await queue.extend("a third", [held])) == [False]
        assert list(await queue.extend("stopped")) == []
        await complete(queue, new, "other")

    async def test_a_silent_worker_does_not_get_its_leases_back_by_a_claim(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        await submit(queue, item("a"))
        lost = await take_one(queue)
        await timeline.sleep(16)
        new = await take_one(queue)
        assert (new.token > lost.token, only(new).lapses) == (True, 1)
        assert not await settle(queue, ended(lost))
        assert await settle(queue, ended(new))

    async def test_what_a_worker_lost_comes_back_at_the_front(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a1 a2", "a"), item("b"))
        await take(queue, "dead", calls=1, size=1)
        await submit(queue, *items("a3", "a"), item("c"))
        await timeline.sleep(16)
        assert names(await claim(queue, "other")) == "a1 a2 a3 b c"

    async def test_lapses_are_counted_up(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Case 18 of the failure catalogue: whoever claims it dies, so the count must tell."""
        await submit(queue, item("poison"))
        first = await take_one(queue, "w0")
        for lapses in range(1, 4):
            await timeline.sleep(16)
            leased = only(await take_one(queue, f"w{lapses}"))
            assert (leased.lapses, leased.attempts, leased.sent_as) == (lapses, 0, first.token)

    async def test_a_lapse_keeps_what_was_sent_before(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a1", "a"))
        first = await take_one(queue)
        assert await settle(queue, attempted(first))
        await submit(queue, *items("a2", "a"))
        second = await take_one(queue, "dead")
        await timeline.sleep(16)
        a1, a2 = (await take_one(queue)).items
        assert (a1.sent_as, a1.attempts, a1.lapses) == (first.token, 1, 1)
        assert (a2.sent_as, a2.attempts, a2.lapses) == (second.token, 0, 1)

    @pytest.mark.parametrize("sign", ["claim", "settle", "extend", "keep_alive", "keep_alive in a thread"])
    async def test_a_sign_of_life_keeps_all_leases(self, queue: QueueBackend, timeline: Timeline, sign: str) -> None:
        await submit(queue, *items("a b"))
        await submit(queue, *(item(f"spare{number}", lane=BOB, priority=-100) for number in range(3)))
        taken = await take(queue, calls=1, size=2)
        assert names(taken) == "a b"
        for number in range(3):
            await timeline.sleep(10)
            if sign == "claim":
                await claim(queue, providers=["elsewhere"])
            elif sign == "settle":
                await queue.settle("worker", [ended(Lease(BOB, f"{number}", 1_000_000, ()))])
            elif sign == "extend":
                await queue.extend("worker")
            elif sign == "keep_alive":
                queue.keep_alive("worker")
            else:
                await anyio.to_thread.run_sync(queue.keep_alive, "worker")
            assert "a" not in names(await claim(queue, "other")).split()
        await complete(queue, taken)

    async def test_signs_of_life_are_those_of_the_worker(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a b"))
        alive = await take_one(queue, "alive")
        await take_one(queue, "dead")
        for _ in range(2):
            await timeline.sleep(10)
            await queue.extend("alive")
            queue.keep_alive("a third")
        assert names(await claim(queue, "other")) == "b"
        assert await settle(queue, ended(alive), "alive")

    async def test_the_end_of_a_lease_is_announced(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        await take_one(queue, "dead")
        ends_at = timeline.after(15)
        claimed = await claim(queue, "other")
        assert claimed.next_at == pytest.approx(ends_at, abs=0.5 * self.second)
        with timeline.takes(15):
            await queue.wait(claimed.marker, claimed.next_at)
            assert names(await claim(queue, "other")) == "a"

    async def test_the_lease_time_is_as_set(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(lease_seconds=40.0)
        assert queue.lease_seconds == 40 * self.second
        await submit(queue, item("a"))
        await take_one(queue)
        await timeline.sleep(38)
        assert names(await claim(queue, "other")) == ""
        await timeline.sleep(3)
        assert names(await claim(queue, "other")) == "a"

    @pytest.mark.parametrize("way", ["attempted", "given back", "lost"])
    async def test_a_wish_to_cancel_is_granted_when_it_comes_back(
        self, queue: QueueBackend, timeline: Timeline, way: str
    ) -> None:
        await submit(queue, *items("a1 a2 a3", "a"))
        lease = await take_one(queue)
        assert list(await queue.cancel(["a2", "a2"])) == [CancelResult.REQUESTED] * 2
        assert await state(queue, "a2") is OperationState.LEASED
        if way == "lost":
            await timeline.sleep(16)
        else:
            assert await settle(queue, attempted(lease) if way == "attempted" else Settlement(lease))
        assert names(await claim(queue, "other")) == "a1 a3"
        found = await entry(queue, "a2")
        assert found.state is OperationState.CANCELLED
        assert found.finished_at is not None
        assert list(await queue.cancel(["a2"])) == [CancelResult.FINISHED]

    @pytest.mark.parametrize("end", [OperationState.COMPLETED, OperationState.DEAD])
    async def test_a_wish_to_cancel_comes_too_late_for_what_is_done(
        self, queue: QueueBackend, end: OperationState
    ) -> None:
        await submit(queue, item("a"))
        lease = await take_one(queue)
        assert list(await queue.cancel(["a"])) == [CancelResult.REQUESTED]
        assert await settle(queue, ended(lease, end))
        assert await state(queue, "a") is end

    async def test_a_wish_to_cancel_is_for_one_operation(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"), *items("b1 b2", "b"))
        taken = await take(queue)
        await queue.cancel(["b1"])
        await release(queue, taken)
        await release(queue, await take(queue))
        assert names(await claim(queue)) == "a b2"
