from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import anyio
import pytest

from ratesync.clock import Clock
from ratesync.memory.queue import MemoryQueue
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import ClaimRequest, Durability, Finished, Item, Settlement
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
    item,
    items,
    leases,
    names,
    release,
    settle,
    state,
    submit,
    take,
    take_one,
)
from ratesync.testing.queue_part import MakeQueue, Timeline
from ratesync.testing.queue_suite import QueueSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options

ROUNDS = 1200
"""Repetitions of something that leaves nothing behind."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return virtual_backend_options(request.param)


class Growth:
    """Bytes that are allocated since the first look."""

    def __init__(self) -> None:
        self._before: int | None = None

    def look(self) -> int:
        gc.collect()
        now = tracemalloc.get_traced_memory()[0]
        self._before = now if self._before is None else self._before
        return now - self._before


@pytest.fixture
def growth() -> Iterator[Growth]:
    tracemalloc.start()
    yield Growth()
    tracemalloc.stop()


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def queue_factory(self, clock: Clock) -> Callable[..., MemoryQueue]:
        return partial(MemoryQueue, clock=clock)

    async def test_it_lives_with_the_process(self, queue: MemoryQueue) -> None:
        assert queue.durability is Durability.PROCESS

    @pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
    async def test_a_weight_is_positive_and_finite(self, queue: MemoryQueue, weight: float) -> None:
        with pytest.raises(ValueError, match="acme/ada"):
            await queue.set_weight(ADA, weight)

    async def test_a_priority_beyond_all_bounds_changes_nothing(self, queue: MemoryQueue) -> None:
        with pytest.raises(OverflowError):
            await submit(queue, item("a"), item("b", priority=10**400))
        assert (await count(queue)).pending == 0
        assert await queue.get(["a"]) == [None]

    async def test_a_settlement_that_ends_in_no_end_changes_nothing(self, queue: MemoryQueue) -> None:
        await submit(queue, *items("a b"))
        a, b = await take(queue)
        wrong = Settlement(b, finished=(Finished("b", OperationState.RETRYABLE, b""),))
        with pytest.raises(ValueError, match="retryable"):
            await queue.settle("worker", [Settlement(a), wrong])
        assert [await state(queue, name) for name in "ab"] == ["leased", "leased"]

    async def test_instants_are_those_of_the_workers_providers(self, queue: MemoryQueue, timeline: Timeline) -> None:
        await submit(queue, item("a", not_before=timeline.after(5)), item("e", lane=ELSEWHERE), item("b", lane=BOB))
        await queue.park(ELSEWHERE, timeline.after(3))
        assert names(await claim(queue, "other")) == "b"
        until = timeline.after(5)
        assert (await claim(queue, providers=["acme"])).next_at == pytest.approx(until)
        assert (await claim(queue, providers=["elsewhere"])).next_at == pytest.approx(until - 2)
        assert (await claim(queue, providers=["nobody"])).next_at is None
        await queue.pause(Selector("acme"))
        assert (await claim(queue, providers=["acme"])).next_at == pytest.approx(until + 10), "the lease of the other"
        assert (await claim(queue, "other", providers=["acme"])).next_at is None

    async def test_what_is_due_is_available_though_nobody_claims(self, queue: MemoryQueue, timeline: Timeline) -> None:
        await submit(queue, item("a", not_before=timeline.after(5)), item("b", not_before=timeline.after(5)))
        await queue.pause(EVERYTHING)
        await timeline.sleep(6)
        assert await state(queue, "a") is OperationState.AVAILABLE
        assert (await count(queue)).available == 2

    async def test_what_becomes_due_waits_from_then_on(self, queue: MemoryQueue, timeline: Timeline) -> None:
        """Its place in the lane is that of its instant; else it would go before all that came since it was enqueued."""
        await submit(queue, item("later", not_before=timeline.after(5)))
        await timeline.sleep(3)
        await submit(queue, item("a"))
        await timeline.sleep(3)
        await submit(queue, item("b"))
        assert names(await claim(queue)) == "a later b"

    async def test_a_crowd_that_is_due_at_once_comes_in_parts(self, queue: MemoryQueue, timeline: Timeline) -> None:
        """So no call takes long; and nobody comes in between."""
        due_at = timeline.after(5)
        await submit(queue, *(item(f"a{number:04}", "a", not_before=due_at) for number in range(2500)))
        await submit(queue, *(item(f"b{number:04}", not_before=due_at) for number in range(2500)))
        await timeline.sleep(6)
        await submit(queue, item("last", "a"))
        taken: list[str] = []
        calls = 0
        while (claimed := await claim(queue, size=1000)).batches:
            calls += 1
            assert calls > 2 or claimed.next_at is not None, "there is more to claim at once"
            taken += names(claimed).split()
            await complete(queue, leases(claimed))
        assert [name for name in taken if name.startswith("b")] == [f"b{number:04}" for number in range(2500)]
        assert [name for name in taken if not name.startswith("b")] == [*(f"a{n:04}" for n in range(2500)), "last"]

    async def test_a_replayed_letter_comes_behind_a_crowd_that_is_due(
        self, queue: MemoryQueue, timeline: Timeline
    ) -> None:
        await bury(queue, item("dead", "a"))
        due_at = timeline.after(5)
        await submit(queue, *(item(f"a{number:04}", "a", not_before=due_at) for number in range(2500)))
        await timeline.sleep(6)
        await queue.replay(["dead"])
        taken: list[str] = []
        while claimed := await take(queue):
            taken += names(claimed).split()
            await complete(queue, claimed)
        assert (len(taken), taken[-1]) == (2501, "dead")

    async def test_a_mailbox_too_large_for_the_claim_waits_for_the_next(self, make_queue: MakeQueue) -> None:
        queue = await make_queue(claim_bytes=100)
        await submit(queue, item("a", body=bytes(90)), item("b1", "b", body=bytes(200)), *items("b2", "b"), item("c"))
        assert names(await claim(queue)) == "a"
        claimed = await claim(queue)
        assert names(claimed) == "b1"
        assert names(await claim(queue)) == "c"
        await release(queue, leases(claimed))

    async def test_a_small_operation_takes_less_than_800_bytes(self, queue: MemoryQueue, growth: Growth) -> None:
        growth.look()
        for start in range(0, 20_000, 100):
            await queue.enqueue(
                [
                    Item(f"{number:032x}", Lane("acme", "ada"), f"contacts/{number:011}", b"%0150d" % number)
                    for number in range(start, start + 100)
                ]
            )
        assert growth.look() / 20_000 < 800

    async def test_the_garbage_collector_has_nothing_to_do_with_what_waits(self, queue: MemoryQueue) -> None:
        await submit(queue, item("first"))
        gc.collect()
        before = len(gc.get_objects())
        for number in range(10_000):
            await submit(queue, item(f"{number}"))
        gc.collect()
        assert len(gc.get_objects()) - before < 100

    async def test_coming_and_going_leaves_nothing_behind(
        self, make_queue: MakeQueue, timeline: Timeline, growth: Growth
    ) -> None:
        """Each of these leaves entries in heaps that are outdated by what follows."""
        queue = await make_queue(result_capacity=10)
        await submit(queue, item("resting", lane=BOB))
        (resting,) = await take(queue)
        await settle(queue, attempted(resting, resume_at=timeline.after(100_000)))
        await submit(queue, *items("stays waits", lane=Lane("acme", "eve")), *items("m0", "m"))
        await queue.pause(Selector("acme", "eve"))

        async def come_and_go(start: int) -> None:
            for number in range(start, start + ROUNDS):
                later = timeline.after(1000 + number % 7)
                urgent = item(f"u{number}", "stays", lane=Lane("acme", "eve"), priority=1)
                new = item(f"n{number}", lane=Lane("acme", "eve"))
                scheduled = item(f"s{number}", not_before=later)
                passing = item(f"p{number}", lane=Lane("passing", f"{number}"))
                await submit(queue, urgent, new, scheduled, passing)
                await queue.park(Lane("nobody", f"{number}"), timeline.after(0.001))
                await queue.park(ADA, timeline.after(0.5 + number % 5))
                await queue.park(ADA, timeline.after(-1))
                await queue.cancel([f"n{number}", f"u{number}", f"s{number}", f"p{number}"])
                lease = await take_one(queue)
                await settle(queue, attempted(lease, resume_at=timeline.after(0.001 * (number % 2))))
                await bury(queue, item(f"d{number}", lane=ELSEWHERE))
                forget = queue.discard if number % 2 else self.replay_and_cancel(queue)
                await forget([f"d{number}"])
                await timeline.sleep(0.01)

        await come_and_go(0)
        growth.look()
        await come_and_go(ROUNDS)
        assert growth.look() < 50_000

    def replay_and_cancel(self, queue: QueueBackend) -> Callable[[list[str]], Awaitable[object]]:
        async def replay_and_cancel(ids: list[str]) -> None:
            await queue.replay(ids)
            await queue.cancel(ids)

        return replay_and_cancel

    async def test_parking_again_and_again_leaves_nothing_behind(
        self, queue: MemoryQueue, timeline: Timeline, growth: Growth
    ) -> None:
        """While another lane wakes up earlier, so that nobody comes across the instants that do not count any more."""
        await submit(queue, item("a"), item("b", lane=BOB, not_before=timeline.after(1)))

        async def park(start: int) -> None:
            for number in range(start, start + ROUNDS):
                await queue.park(ADA, timeline.after(2 + number))

        await park(0)
        growth.look()
        await park(ROUNDS)
        assert growth.look() < 20_000
        await queue.park(ADA, timeline.after(3))
        await timeline.sleep(2)
        assert names(await claim(queue)) == "b"
        await timeline.sleep(2)
        assert names(await claim(queue)) == "a"

    async def test_cancelled_schedules_leave_nothing_behind(
        self, make_queue: MakeQueue, timeline: Timeline, growth: Growth
    ) -> None:
        queue = await make_queue(result_capacity=0)
        await submit(queue, item("a", not_before=timeline.after(1)))

        async def schedule(start: int) -> None:
            for number in range(start, start + ROUNDS):
                await submit(queue, item(f"{number}", not_before=timeline.after(2)))
                await queue.cancel([f"{number}"])

        await schedule(0)
        growth.look()
        await schedule(ROUNDS)
        assert growth.look() < 20_000
        await timeline.sleep(3)
        assert names(await claim(queue)) == "a"

    async def test_a_cancelled_schedule_wakes_nobody(self, queue: MemoryQueue, timeline: Timeline) -> None:
        await submit(queue, *(item(name, not_before=timeline.after(5)) for name in "abc"))
        await queue.cancel(["a", "c"])
        await timeline.sleep(6)
        assert names(await claim(queue)) == "b"
        await submit(queue, item("d", not_before=timeline.after(5)))
        await queue.cancel(["d"])
        assert (await claim(queue)).next_at is None

    async def test_a_mailbox_of_mixed_priorities_leaves_nothing_behind(
        self, make_queue: MakeQueue, growth: Growth
    ) -> None:
        queue = await make_queue(mailbox_max=2)
        await submit(queue, *items("a1 a2 a3", "a"), item("a4", "a", priority=5))

        async def go_round() -> None:
            for _ in range(ROUNDS):
                await release(queue, [await take_one(queue)])

        await go_round()
        growth.look()
        await go_round()
        assert growth.look() < 20_000

    async def test_lanes_that_came_and_went_leave_nothing_behind(self, make_queue: MakeQueue, growth: Growth) -> None:
        """Although somebody is always ready, so that what each one was served could matter."""
        queue = await make_queue(result_capacity=0)
        await submit(queue, item("ready", lane=Lane("acme", "first")))

        async def pass_by(start: int) -> None:
            for number in range(start, start + ROUNDS):
                await submit(queue, item(f"{number}", lane=Lane("acme", f"{number}")))
                request = ClaimRequest("worker", 1, {"acme": 1})
                await complete(queue, leases(await queue.claim(request)))

        await pass_by(0)
        growth.look()
        await pass_by(ROUNDS)
        assert growth.look() < 50_000
        assert (await count(queue)).pending == 1

    async def test_workers_that_came_and_went_leave_nothing_behind(self, make_queue: MakeQueue, growth: Growth) -> None:
        queue = await make_queue(result_capacity=0)

        async def work(start: int) -> None:
            for number in range(start, start + ROUNDS):
                await submit(queue, item(f"{number}"))
                queue.keep_alive(f"worker {number}")
                await complete(queue, await take(queue, f"worker {number}"), f"worker {number}")
                with anyio.move_on_after(0.001):
                    await queue.wait((await claim(queue, f"idle {number}")).marker, None)

        await work(0)
        growth.look()
        await work(ROUNDS)
        assert growth.look() < 20_000
