"""The part of the queues' conformance suite that is about what is kept: wishes, dead letters, results, counts."""

from __future__ import annotations

import anyio
import pytest

from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import CancelResult, Durability, Entry, QueueStats
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
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
    names,
    settle,
    state,
    submit,
    take,
    take_one,
)
from ratesync.testing.queue_part import MakeQueue, QueuePart, Timeline


async def letters(
    queue: QueueBackend, selector: Selector = EVERYTHING, *, after: str | None = None, limit: int = 100
) -> str:
    """The ids of dead letters, in order."""
    return " ".join(one.id for one in await queue.dead_letters(selector, after=after, limit=limit))


class QueueRecordSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def test_it_keeps_the_protocol(self, queue: QueueBackend) -> None:
        assert isinstance(queue, QueueBackend)
        assert queue.durability in Durability
        assert queue.lease_seconds == 15 * self.second

    async def test_what_is_queued_stays_when_it_is_closed(self, queue: QueueBackend) -> None:
        await bury(queue, item("dead", lane=BOB))
        await submit(queue, *items("a b"))
        await queue.open()
        await queue.close()
        await queue.close()
        await queue.open()
        assert names(await claim(queue)) == "a b"
        assert await letters(queue) == "dead"

    async def test_waiting_operations_are_cancelled_at_once(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("retryable"))
        assert await settle(queue, attempted(await take_one(queue), resume_at=timeline.after(5)))
        await submit(queue, item("available"), item("scheduled", not_before=timeline.after(5)), item("other"))
        wishes = ["available", "nobody", "scheduled", "retryable", "available"]
        assert list(await queue.cancel(wishes)) == [
            CancelResult.CANCELLED,
            CancelResult.UNKNOWN,
            CancelResult.CANCELLED,
            CancelResult.CANCELLED,
            CancelResult.FINISHED,
        ]
        for name in ("available", "scheduled", "retryable"):
            found = await entry(queue, name)
            assert (found.state, found.body, found.result, found.due_at) == (OperationState.CANCELLED, None, None, None)
            assert found.finished_at == pytest.approx(timeline.clock.now(), abs=self.second)
        await timeline.sleep(6)
        assert names(await claim(queue)) == "other"
        assert (await count(queue)).pending == 1

    @pytest.mark.parametrize("end", [OperationState.COMPLETED, OperationState.DEAD])
    async def test_it_is_too_late_to_cancel_what_is_finished(self, queue: QueueBackend, end: OperationState) -> None:
        await submit(queue, item("a"))
        assert await settle(queue, ended(await take_one(queue), end))
        assert list(await queue.cancel(["a"])) == [CancelResult.FINISHED]
        assert await state(queue, "a") is end

    @pytest.mark.parametrize("cancelled", ["a1", "a2", "a3", "a1 a2", "a2 a3", "a1 a3"])
    async def test_cancelling_leaves_the_others_in_order(self, queue: QueueBackend, cancelled: str) -> None:
        await submit(queue, *items("a1 a2 a3", "a"), item("b"))
        await queue.cancel(cancelled.split())
        await submit(queue, *items("a4", "a"))
        left = [name for name in ("a1", "a2", "a3", "a4") if name not in cancelled.split()]
        taken = await take(queue)
        assert {lease.key: names(lease) for lease in taken} == {"a": " ".join(left), "b": "b"}

    async def test_a_cancelled_item_lends_no_urgency(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"), item("b1", "b"), item("b2", "b", priority=5))
        await queue.cancel(["b2"])
        assert names(await claim(queue)) == "a b1"

    async def test_a_dead_letter_tells_everything(self, queue: QueueBackend) -> None:
        await submit(queue, item("a", "record", lane=BOB, body=b"body"))
        assert await settle(queue, attempted(await take_one(queue)))
        assert await settle(queue, ended(await take_one(queue), OperationState.DEAD, result=b"why"))
        (found,) = await queue.dead_letters(EVERYTHING)
        assert found == await entry(queue, "a")
        assert found == Entry(
            id="a",
            lane=BOB,
            key="record",
            state=OperationState.DEAD,
            attempts=1,
            enqueued_at=found.enqueued_at,
            due_at=None,
            finished_at=found.finished_at,
            body=b"body",
            result=b"why",
        )

    async def test_a_dead_letter_does_not_hold_its_mailbox(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a1 a2", "a"))
        assert await settle(queue, ended(await take_one(queue), OperationState.DEAD, only_ids="a1"))
        assert names(await claim(queue)) == "a2"

    async def test_dead_letters_come_in_the_order_of_their_death(self, queue: QueueBackend) -> None:
        await submit(queue, item("z"))
        old = await take_one(queue)
        await bury(queue, *items("b"), *items("c", lane=BOB), *items("a"), *items("e", lane=ELSEWHERE))
        assert await settle(queue, ended(old, OperationState.DEAD))
        assert await letters(queue) == "b c a e z"
        assert await letters(queue, limit=2) == "b c"
        assert await letters(queue, limit=10**20) == await letters(queue)
        assert await letters(queue, limit=0) == await letters(queue, limit=-1) == ""
        assert await letters(queue, after="c", limit=2) == "a e"
        assert await letters(queue, after="z") == ""
        assert await letters(queue, Selector("acme")) == "b c a z"
        assert await letters(queue, Selector("acme"), after="c", limit=1) == "a"
        assert await letters(queue, Selector("acme", "bob")) == "c"
        assert await letters(queue, Selector(None, "ada")) == "b a e z"
        assert await letters(queue, Selector("nobody")) == ""

    async def test_letters_may_go_while_somebody_pages_through(self, queue: QueueBackend) -> None:
        await bury(queue, *items("a b c d e f"))
        assert await letters(queue, limit=2) == "a b"
        await queue.discard(["a", "b"])
        assert await letters(queue, after="b", limit=2) == "c d"
        await queue.replay(["d"])
        assert await letters(queue, after="d", limit=2) == "e f"
        assert await letters(queue) == "c e f"

    async def test_a_replayed_letter_starts_anew(self, queue: QueueBackend, timeline: Timeline) -> None:
        """At the end of its mailbox, without attempts and lapses, and as if it had never been sent."""
        await submit(queue, *items("a1", "a"))
        assert await settle(queue, attempted(await take_one(queue)))
        await take_one(queue, "dead")
        await timeline.sleep(16)
        assert await settle(queue, ended(await take_one(queue), OperationState.DEAD))
        accepted_at = (await entry(queue, "a1")).enqueued_at
        await submit(queue, *items("a2", "a"))
        assert list(await queue.replay(["a1", "a2", "nobody", "a1"])) == [True, False, False, False]
        found = await entry(queue, "a1")
        assert (found.state, found.attempts, found.enqueued_at) == (OperationState.AVAILABLE, 0, accepted_at)
        assert (found.result, found.finished_at, found.body) == (None, None, b"a1")
        a2, a1 = (await take_one(queue)).items
        assert (a2.id, a1.id, a1.body) == ("a2", "a1", b"a1")
        assert (a1.attempts, a1.lapses, a1.sent_as) == (0, 0, 0)
        assert await letters(queue) == ""

    async def test_a_replayed_letter_keeps_its_priority(self, queue: QueueBackend) -> None:
        await bury(queue, item("a", priority=1))
        await submit(queue, item("b"))
        await queue.replay(["a"])
        await submit(queue, item("c", priority=1))
        assert names(await claim(queue)) == "a c b"

    async def test_a_replayed_letter_comes_behind_all_that_is_due(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        """However much that is: more than a backend may do in one step."""
        await bury(queue, item("dead", "k"))
        at = timeline.after(5)
        due = [f"i{number}" for number in range(1200)]
        await submit(queue, *(item(name, "k", not_before=at) for name in due))
        await timeline.sleep(6)
        assert list(await queue.replay(["dead"])) == [True]
        assert (await count(queue)).pending == len(due) + 1
        came: list[str] = []
        while taken := await take(queue):
            came += names(taken).split()
            await complete(queue, taken)
        assert came == [*due, "dead"]

    async def test_a_replayed_letter_can_die_again(self, queue: QueueBackend) -> None:
        await bury(queue, *items("a b"))
        await queue.replay(["a"])
        assert await settle(queue, ended(await take_one(queue), OperationState.DEAD, result=b"again"))
        assert await letters(queue) == "b a"
        assert (await entry(queue, "a")).result == b"again"
        assert (await count(queue)).dead == 2

    @pytest.mark.parametrize("end", ["completed", "cancelled", "available", "leased"])
    async def test_only_dead_letters_are_replayed_or_discarded(self, queue: QueueBackend, end: str) -> None:
        await submit(queue, item("a"))
        if end == "leased":
            await take_one(queue)
        elif end != "available":
            assert await settle(queue, ended(await take_one(queue), OperationState(end)))
        assert list(await queue.replay(["a"])) == [False]
        assert list(await queue.discard(["a"])) == [False]
        assert await state(queue, "a") == end

    async def test_a_discarded_letter_is_forgotten(self, queue: QueueBackend) -> None:
        await bury(queue, item("a", dedupe="once"), item("b"))
        assert list(await queue.discard(["b", "nobody", "a", "a"])) == [True, False, True, False]
        assert await queue.get(["a", "b"]) == [None, None]
        assert await letters(queue) == ""
        assert await count(queue) == QueueStats()
        answers = await submit(queue, item("a"), item("c", dedupe="once"))
        assert [answer.duplicate for answer in answers] == [False, False]

    async def test_as_many_results_are_remembered_as_set(self, make_queue: MakeQueue) -> None:
        """The oldest go first, by the instant at which they finished."""
        queue = await make_queue(result_capacity=2)
        await submit(queue, *items("a b c d"))
        a, b, c, _ = await take(queue)
        await complete(queue, [c])
        await complete(queue, [a])
        assert await state(queue, "c") is OperationState.COMPLETED
        await complete(queue, [b])
        assert not await is_known(queue, "c")
        assert [await state(queue, name) for name in "abd"] == ["completed", "completed", "leased"]
        assert [answer.duplicate for answer in await submit(queue, *items("a c"))] == [True, False]

    async def test_results_are_remembered_as_long_as_set(self, make_queue: MakeQueue, timeline: Timeline) -> None:
        queue = await make_queue(result_seconds=10.0)
        await submit(queue, item("a", dedupe="once"), item("b"), item("dead"))
        a, b, dead = await take(queue)
        await complete(queue, [a])
        assert await settle(queue, ended(dead, OperationState.DEAD))
        await timeline.sleep(6)
        await complete(queue, [b])
        assert await is_known(queue, "a")
        await timeline.sleep(6)
        assert not await is_known(queue, "a")
        assert await state(queue, "b") is OperationState.COMPLETED
        assert await queue.finished("a", None) is None
        assert list(await queue.cancel(["a"])) == [CancelResult.UNKNOWN]
        assert [answer.duplicate for answer in await submit(queue, item("c", dedupe="once"), item("a"))] == [False] * 2
        await timeline.sleep(20)
        assert await state(queue, "dead") is OperationState.DEAD, "a dead letter is no result"

    async def test_who_awaits_an_end_gets_it_whatever_is_remembered(
        self, make_queue: MakeQueue, timeline: Timeline
    ) -> None:
        queue = await make_queue(result_capacity=1)
        await submit(queue, *items("a b c"))
        found: list[Entry | None] = []

        async def wait() -> None:
            found.append(await queue.finished("a", None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await timeline.sleep(1)
            await complete(queue, await take(queue))
        assert [one and one.state for one in found] == [OperationState.COMPLETED]
        assert not await is_known(queue, "a")

    async def test_operations_are_counted_by_state_and_lane(self, queue: QueueBackend, timeline: Timeline) -> None:
        assert await count(queue) == QueueStats()
        await bury(queue, *items("d1 d2"), item("d3", lane=BOB))
        await submit(queue, item("retryable"))
        assert await settle(queue, attempted(await take_one(queue), resume_at=timeline.after(50)))
        await submit(queue, item("leased"))
        await take_one(queue)
        await submit(queue, *items("x y", "x"), item("s", not_before=timeline.after(50)), item("b", lane=BOB))
        await submit(queue, item("e", lane=ELSEWHERE))
        ada = QueueStats(scheduled=1, available=2, leased=1, retryable=1, dead=2)
        assert await count(queue, Selector("acme", "ada")) == ada
        assert ada.pending == 5
        assert await count(queue, Selector("acme")) == QueueStats(
            scheduled=1, available=3, leased=1, retryable=1, dead=3
        )
        assert await count(queue, Selector(None, "ada")) == QueueStats(
            scheduled=1, available=3, leased=1, retryable=1, dead=2
        )
        assert await count(queue) == QueueStats(scheduled=1, available=4, leased=1, retryable=1, dead=3)
        assert await count(queue, Selector("nobody")) == QueueStats()
        assert await count(queue, Selector(*Lane("acme", "bob"))) == QueueStats(available=1, dead=1)
