"""The part of the queues' conformance suite that is about settling leases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import Entry, Finished, Lease, Settlement
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    attempted,
    claim,
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
from ratesync.testing.queue_part import QueuePart, Timeline


class QueueSettlementSuite(QueuePart):
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

    async def test_an_attempt_may_not_have_been_sent(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"))
        first = await take_one(queue)
        assert await settle(queue, attempted(first)._replace(sent=False))
        second = await take_one(queue)
        assert (only(second).attempts, only(second).sent_as) == (1, 0)
        assert await settle(queue, attempted(second))
        assert only(await take_one(queue)).sent_as == second.token

    async def test_a_mark_of_having_been_sent_stays(self, queue: QueueBackend) -> None:
        """Also when a later attempt surely did not reach the provider."""
        await submit(queue, item("a"))
        first = await take_one(queue)
        assert await settle(queue, attempted(first))
        assert await settle(queue, attempted(await take_one(queue))._replace(sent=False))
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
        strangers = [lease._replace(token=lease.token + 1000), lease._replace(lane=Lane("nobody", "here"))]
        answers = await queue.settle("worker", [ended(stranger) for stranger in strangers])
        assert list(answers) == [False, False]
        assert await state(queue, "a") is OperationState.LEASED

    async def test_each_settlement_gets_its_answer_in_order(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c"))
        a, b, c = await take(queue)
        await release(queue, [b])
        assert list(await queue.settle("worker", [ended(a), ended(b), ended(c)])) == [True, False, True]
        assert [await state(queue, name) for name in "abc"] == ["completed", "available", "completed"]
