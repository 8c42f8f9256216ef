"""The part of the queues' conformance suite that is about waiting: for work, for an end, for empty lanes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import anyio
import pytest

from ratesync.clock import Clock
from ratesync.model.lane import Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import ClaimRequest, Entry, Lease, Settlement
from ratesync.protocols import QueueBackend
from ratesync.testing.cancellation import CheckpointCanceller
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    ELSEWHERE,
    EVERYTHING,
    attempted,
    bury,
    claim,
    complete,
    ended,
    entry,
    item,
    items,
    leases,
    names,
    settle,
    submit,
    take,
    take_one,
)
from ratesync.testing.queue_part import QueuePart, Timeline

Change = Callable[[QueueBackend, Timeline], Awaitable[object]]

CHANGES: dict[str, Change] = {
    "enqueue": lambda queue, _: submit(queue, item("a")),
    "schedule": lambda queue, timeline: submit(queue, item("a", not_before=timeline.after(3))),
    "replay": lambda queue, _: queue.replay(["a"]),
    "resume": lambda queue, _: queue.resume(EVERYTHING),
    "reopen": lambda queue, timeline: queue.park(ADA, timeline.after(-1)),
    "park less": lambda queue, timeline: queue.park(ADA, timeline.after(3)),
}
CHANGES_OF_LEASES: dict[str, Callable[[Lease, Timeline], Settlement]] = {
    "release": lambda lease, _: Settlement(lease),
    "retry": lambda lease, timeline: attempted(lease, resume_at=timeline.after(3)),
    "finish one of two": lambda lease, _: ended(lease, only_ids="a1"),
}


async def _await(wait: Callable[[], Awaitable[object]], over: anyio.Event) -> None:
    await wait()
    over.set()


class QueueWaitSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def prepare(self, queue: QueueBackend, change: str, timeline: Timeline) -> Change:
        """Set the queue up so that nothing can be claimed; what makes something claimable, now or later."""
        if change in CHANGES_OF_LEASES:
            await submit(queue, *items("a1 a2", "a"))
            lease = await take_one(queue, "holder")
            settlement = CHANGES_OF_LEASES[change](lease, timeline)
            return lambda queue, _: settle(queue, settlement, "holder")
        if change == "replay":
            await bury(queue, item("a"))
        elif change not in {"enqueue", "schedule"}:
            await submit(queue, item("a"))
            await queue.park(ADA, timeline.after(-1 if change == "resume" else 80))
            await queue.pause(EVERYTHING if change == "resume" else Selector("elsewhere"))
        return CHANGES[change]

    @pytest.mark.parametrize("change", [*CHANGES, *CHANGES_OF_LEASES])
    @pytest.mark.parametrize("moment", ["before the wait", "during the wait"])
    async def test_a_change_wakes_every_worker(
        self, queue: QueueBackend, timeline: Timeline, change: str, moment: str
    ) -> None:
        """Those who wait for nothing in particular: after it they know at least when to look again."""
        make = await self.prepare(queue, change, timeline)
        claims = [await claim(queue, worker) for worker in ("w1", "w2", "w3")]
        assert {names(claimed) for claimed in claims} == {""}
        if moment == "before the wait":
            await make(queue, timeline)
        with timeline.limit(5):
            async with anyio.create_task_group() as tasks:
                for claimed in claims:
                    tasks.start_soon(queue.wait, claimed.marker, None)
                if moment == "during the wait":
                    await timeline.sleep(1)
                    await make(queue, timeline)
        claimed = await claim(queue, "w1")
        if not names(claimed):
            assert claimed.next_at is not None
            await queue.wait(claimed.marker, claimed.next_at)
            claimed = await claim(queue, "w1")
        assert names(claimed).startswith("a")

    async def test_a_wait_ends_at_its_instant(self, queue: QueueBackend, timeline: Timeline) -> None:
        claimed = await claim(queue)
        with timeline.takes(3):
            until = timeline.after(3)
            while timeline.clock.now() < until:
                await queue.wait(claimed.marker, until)

    async def test_waiting_does_not_poll(self, queue: QueueBackend, clock: Clock, timeline: Timeline) -> None:
        """Who waits sleeps until something happens, and takes no steps meanwhile: seen in virtual time only."""
        if not clock.is_virtual:
            pytest.skip("polling is seen in virtual time only")
        await submit(queue, item("a"), item("later", not_before=timeline.after(100_000)))
        await take_one(queue)
        marker = (await claim(queue)).marker
        for wait in (
            lambda: queue.wait(marker, None),
            lambda: queue.finished("a", None),
            lambda: queue.drained(EVERYTHING, None),
        ):
            async with CheckpointCanceller(1_000_000) as watch, anyio.create_task_group() as tasks:
                over = anyio.Event()
                tasks.start_soon(_await, wait, over)
                await anyio.sleep(10)  # how many steps a wait begins with hangs on how a server's answers arrive
                begun = watch.count
                await anyio.sleep(50_000)
                assert watch.count - begun < 10
                assert not over.is_set(), "a wait ended although nothing had happened"
                tasks.cancel_scope.cancel()

    async def test_no_wake_up_is_lost(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Several workers of different providers work until all is done, asleep whenever there is nothing to do."""
        source = random.Random(7)
        total = 120
        done: set[str] = set()

        async def produce() -> None:
            for number in range(total):
                lane = source.choice([ADA, BOB, ELSEWHERE])
                not_before = timeline.after(source.uniform(0.5, 3)) if source.random() < 0.3 else None
                await submit(queue, item(f"i{number}", f"k{number % 7}", lane=lane, not_before=not_before))
                if source.random() < 0.2:
                    await anyio.sleep(source.uniform(0, 0.3) * self.second)

        async def work(worker: str, providers: list[str]) -> None:
            while True:
                claimed = await queue.claim(ClaimRequest(worker, 1, dict.fromkeys(providers, 2)))
                taken = leases(claimed)
                if not taken:
                    await queue.wait(claimed.marker, claimed.next_at)
                    continue
                await anyio.sleep(source.uniform(0, 0.1) * self.second)
                for lease in taken:
                    if source.random() < 0.3:
                        await settle(queue, attempted(lease, resume_at=timeline.after(source.uniform(0, 2))), worker)
                    else:
                        await complete(queue, [lease], worker)
                        done.update(names(lease).split())

        with timeline.limit(90):
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(work, f"acme{number}", ["acme"])
                tasks.start_soon(work, "elsewhere", ["elsewhere"])
                tasks.start_soon(work, "both", ["elsewhere", "acme"])
                await produce()
                assert await queue.drained(EVERYTHING, None)
                tasks.cancel_scope.cancel()
        assert len(done) == total

    @pytest.mark.parametrize("end", [OperationState.COMPLETED, OperationState.CANCELLED, OperationState.DEAD])
    async def test_the_end_of_an_operation_can_be_awaited(
        self, queue: QueueBackend, timeline: Timeline, end: OperationState
    ) -> None:
        await submit(queue, *items("a b"))
        found: list[Entry | None] = []

        async def wait() -> None:
            found.append(await queue.finished("a", None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await timeline.sleep(1)
            a, b = await take(queue)
            await complete(queue, [b])
            await timeline.sleep(1)
            assert found == []
            assert await settle(queue, ended(a, end, result=b"result"))
        expected = await entry(queue, "a")
        assert expected.state is end
        assert found == [expected, expected]
        assert await queue.finished("a", None) == expected

    async def test_an_end_by_cancelling_is_awaited_too(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"), item("b"))
        await take(queue, "dead", calls=1, size=1)
        await queue.cancel(["a"])
        found: list[Entry | None] = []

        async def wait(name: str) -> None:
            found.append(await queue.finished(name, None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "a")
            tasks.start_soon(wait, "b")
            await timeline.sleep(1)
            await queue.cancel(["b"])
            await timeline.sleep(16)
            assert names(await claim(queue)) == ""
        assert [(one.id, one.state) for one in found if one] == [("b", "cancelled"), ("a", "cancelled")]

    async def test_awaiting_an_end_stops_at_its_instant(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        with timeline.takes(3):
            found = await queue.finished("a", timeline.after(3))
        assert found == await entry(queue, "a")
        assert found is not None
        assert found.state is OperationState.AVAILABLE

    async def test_there_is_no_end_of_what_is_not_known(self, queue: QueueBackend, timeline: Timeline) -> None:
        with timeline.takes(0):
            assert await queue.finished("nobody", None) is None

    async def test_cancelled_waiters_leave_no_trace(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        for _ in range(3):
            with anyio.move_on_after(self.second):
                await queue.finished("a", None)
            with anyio.move_on_after(self.second):
                await queue.drained(EVERYTHING, None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.finished, "a", None)
            tasks.start_soon(queue.drained, EVERYTHING, None)
            await timeline.sleep(1)
            await complete(queue, await take(queue))

    async def test_drained_lanes_have_nothing_pending(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Scheduled, resting and leased operations count as pending; dead letters do not."""
        await bury(queue, item("dead"))
        await submit(queue, *items("a b"), item("later", not_before=timeline.after(4)))
        a, b = await take(queue)
        drained: list[bool] = []

        async def drain() -> None:
            drained.append(await queue.drained(EVERYTHING, None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            await complete(queue, [a])
            assert await settle(queue, attempted(b, resume_at=timeline.after(2)))
            await timeline.sleep(3)
            await complete(queue, [await take_one(queue)])
            await timeline.sleep(2)
            later = await take_one(queue)
            await timeline.sleep(1)
            assert drained == []
            await complete(queue, [later])
        assert drained == [True]

    @pytest.mark.parametrize("kind", ["available", "scheduled", "resting", "leased"])
    async def test_everything_pending_keeps_a_lane_from_being_drained(
        self, queue: QueueBackend, timeline: Timeline, kind: str
    ) -> None:
        await submit(queue, item("a", not_before=timeline.after(50) if kind == "scheduled" else None))
        if kind in {"resting", "leased"}:
            lease = await take_one(queue)
            if kind == "resting":
                assert await settle(queue, attempted(lease, resume_at=timeline.after(50)))
        assert not await queue.drained(EVERYTHING, timeline.after(0))

    async def test_draining_is_for_the_selected_lanes(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"), item("b", lane=BOB), item("e", lane=ELSEWHERE))
        with timeline.takes(0):
            assert await queue.drained(Selector("nobody"), None)
        await complete(queue, leases(await claim(queue, providers=["elsewhere"])))
        with timeline.takes(0):
            assert await queue.drained(Selector("elsewhere"), None)
            assert not await queue.drained(Selector("acme"), timeline.after(0))
        with timeline.takes(3):
            assert not await queue.drained(Selector(None, "ada"), timeline.after(3))
        await queue.cancel(["a"])
        with timeline.takes(0):
            assert await queue.drained(Selector(None, "ada"), None)
            assert await queue.drained(Selector("acme", "ada"), None)
            assert not await queue.drained(Selector("acme"), timeline.after(0))

    async def test_draining_waits_for_what_comes_meanwhile(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"), item("b", lane=BOB))
        drained: list[bool] = []

        async def drain() -> None:
            drained.append(await queue.drained(Selector("acme"), None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            await timeline.sleep(1)
            a, b = await take(queue)
            await complete(queue, [a])
            await submit(queue, item("c"))
            await complete(queue, [b])
            await timeline.sleep(1)
            assert drained == []
            await complete(queue, await take(queue))
