"""The part of the queues' conformance suite that is about leases: how they are settled, kept and lost."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
import attrs
import pytest

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import CancelResult, Entry, Finished, Lease, Settlement
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    BOB,
    attempted,
    claim,
    complete,
    count,
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

    @pytest.mark.parametrize("end", [OperationState.COMPLETED, OperationState.CANCELLED, OperationState.DEAD])
    async def test_a_finished_item_has_left_for_good(
        self, queue: QueueBackend, timeline: Timeline, end: OperationState
    ) -> None:
        await submit(queue, item("a", body=b"body"))
        accepted_at = (await entry(queue, "a")).enqueued_at
        lease = await take_one(queue)
        await timeline.sleep(2)
        before = timeline.clock.now()
        assert await settle(queue, ended(lease, end, result=b"result"))
        found = await entry(queue, "a")
        assert found.finished_at is not None
        assert before <= found.finished_at <= timeline.clock.now()
        assert found == Entry(
            id="a",
            lane=lease.lane,
            key="a",
            state=end,
            attempts=0,
            enqueued_at=accepted_at,
            due_at=None,
            finished_at=found.finished_at,
            body=b"body" if end is OperationState.DEAD else None,
            result=b"result",
        )
        await timeline.sleep(50)
        assert names(await claim(queue)) == ""
        stats = await count(queue)
        assert (stats.pending, stats.dead) == (0, int(end is OperationState.DEAD))

    async def test_each_item_of_a_lease_goes_its_own_way(self, queue: QueueBackend) -> None:
        await submit(queue, *items("done left tried dead cancelled new", "key"))
        lease = await take_one(queue)
        assert await settle(
            queue,
            Settlement(
                lease,
                finished=(
                    Finished("cancelled", OperationState.CANCELLED, b"3"),
                    Finished("done", OperationState.COMPLETED, b"1"),
                    Finished("dead", OperationState.DEAD, b"2"),
                ),
                attempted=("tried",),
            ),
        )
        found = [await entry(queue, name) for name in ("done", "left", "tried", "dead", "cancelled", "new")]
        assert [(one.state, one.attempts, one.result) for one in found] == [
            (OperationState.COMPLETED, 0, b"1"),
            (OperationState.AVAILABLE, 0, None),
            (OperationState.RETRYABLE, 1, None),
            (OperationState.DEAD, 0, b"2"),
            (OperationState.CANCELLED, 0, b"3"),
            (OperationState.AVAILABLE, 0, None),
        ]
        again = await take_one(queue)
        assert [(one.id, one.attempts, one.sent_as, one.lapses) for one in again.items] == [
            ("left", 0, 0, 0),
            ("tried", 1, lease.token, 0),
            ("new", 0, 0, 0),
        ]

    async def test_attempts_are_counted_up(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        for attempts in range(4):
            lease = await take_one(queue)
            assert only(lease).attempts == attempts
            assert await settle(queue, attempted(lease))
            assert (await entry(queue, "a")).attempts == attempts + 1

    async def test_an_attempt_may_not_count(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        lease = await take_one(queue)
        assert await settle(queue, attempted(lease, counted=False))
        assert await state(queue, "a") is OperationState.RETRYABLE
        again = only(await take_one(queue))
        assert (again.attempts, again.sent_as) == (0, lease.token)

    async def test_the_first_lease_under_which_it_was_sent_is_kept(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        first = await take_one(queue)
        assert await settle(queue, attempted(first))
        second = await take_one(queue)
        assert second.token != first.token
        assert await settle(queue, attempted(second))
        assert only(await take_one(queue)).sent_as == first.token

    async def test_what_turned_out_unsent_is_not_marked_any_more(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", "record"), item("b", "record"))
        await settle(queue, attempted(await take_one(queue)))
        lease = await take_one(queue)
        await settle(queue, Settlement(lease, unsent=("a",)))
        again = await take_one(queue)
        assert [(leased.id, leased.sent_as == 0, leased.attempts) for leased in again.items] == [
            ("a", True, 1),
            ("b", False, 1),
        ]

    async def test_what_was_given_back_is_as_it_was(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        first = await take_one(queue)
        assert await settle(queue, attempted(first))
        await release(queue, [await take_one(queue)])
        found = await entry(queue, "a")
        assert (found.state, found.attempts, found.due_at) == (OperationState.AVAILABLE, 1, None)
        again = only(await take_one(queue, "other"))
        assert (again.attempts, again.sent_as, again.lapses) == (1, first.token, 0)
        assert again.enqueued_at == found.enqueued_at

    async def test_tokens_grow(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"), item("b"))
        tokens = [0]
        for _ in range(5):
            taken = await take(queue)
            assert min(lease.token for lease in taken) > max(tokens)
            tokens += [lease.token for lease in taken]
            await release(queue, taken)
        assert len(set(tokens)) == 11

    async def test_a_mailbox_rests_until_its_instant(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a1 a2", "a"), item("b"))
        lease, other = await take(queue)
        resume_at = timeline.after(10)
        assert await settle(queue, attempted(lease, resume_at=resume_at))
        await release(queue, [other])
        found = await entry(queue, "a1")
        assert found.state is OperationState.RETRYABLE
        assert found.due_at == pytest.approx(resume_at, abs=0.01)
        await submit(queue, *items("a3", "a"))
        claimed = await claim(queue)
        assert names(claimed) == "b"
        assert claimed.next_at == pytest.approx(resume_at, abs=0.01)
        await timeline.sleep(9)
        assert names(await claim(queue)) == ""
        await timeline.sleep(2)
        assert names(await claim(queue)) == "a1 a2 a3"

    async def test_a_mailbox_rests_although_nothing_was_attempted(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        await submit(queue, item("a"))
        assert await settle(queue, Settlement(await take_one(queue), resume_at=timeline.after(5)))
        assert await state(queue, "a") is OperationState.AVAILABLE
        assert names(await claim(queue)) == ""
        await timeline.sleep(6)
        assert names(await claim(queue)) == "a"

    async def test_an_instant_in_the_past_is_no_rest(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        assert await settle(queue, attempted(await take_one(queue), resume_at=timeline.after(-1)))
        assert names(await claim(queue)) == "a"

    async def test_a_lease_is_settled_once(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        lease = await take_one(queue)
        assert await settle(queue, attempted(lease))
        before = await entry(queue, "a")
        assert not await settle(queue, ended(lease))
        assert await entry(queue, "a") == before

    @pytest.mark.parametrize("late", [ended, attempted, Settlement], ids=["finished", "attempted", "given back"])
    async def test_a_late_settlement_changes_nothing(
        self, queue: QueueBackend, late: Callable[[Lease], Settlement]
    ) -> None:
        """Neither while somebody else holds the mailbox, nor later, nor for another lease of the same worker."""
        await submit(queue, item("a"))
        old = await take_one(queue)
        await release(queue, [old])
        new = await take_one(queue)
        before = await entry(queue, "a")
        assert not await settle(queue, late(old))
        assert not await settle(queue, late(old), "other")
        assert await entry(queue, "a") == before
        assert names(await claim(queue, "other")) == ""
        assert await settle(queue, attempted(new))
        assert not await settle(queue, late(old))
        assert only(await take_one(queue)).attempts == 1

    async def test_a_lease_that_never_was_is_refused(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        lease = await take_one(queue)
        strangers = [attrs.evolve(lease, token=lease.token + 1000), attrs.evolve(lease, lane=Lane("nobody", "here"))]
        answers = await queue.settle("worker", [ended(stranger) for stranger in strangers])
        assert list(answers) == [False, False]
        assert await state(queue, "a") is OperationState.LEASED

    async def test_each_settlement_gets_its_answer_in_order(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c"))
        a, b, c = await take(queue)
        await release(queue, [b])
        assert list(await queue.settle("worker", [ended(a), ended(b), ended(c)])) == [True, False, True]
        assert [await state(queue, name) for name in "abc"] == ["completed", "available", "completed"]

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
