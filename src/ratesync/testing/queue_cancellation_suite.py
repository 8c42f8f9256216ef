"""The part of the queues' conformance suite that is about cancelling its methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import anyio
import pytest

from ratesync.clock import Clock
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import Claim, ClaimRequest, Settlement
from ratesync.testing.cancellation import CheckpointCanceller
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    EVERYTHING,
    attempted,
    bury,
    claim,
    complete,
    count,
    ended,
    entry,
    item,
    items,
    leases,
    names,
    submit,
    take,
)
from ratesync.testing.queue_part import MakeQueue, QueuePart, Timeline

Call = Callable[[], Awaitable[object]]

NEVER_WAIT = [
    *("open", "close", "enqueue", "claim", "settle", "extend", "park", "pause", "resume", "paused", "set_weight"),
    *("cancel", "get", "dead_letters", "replay", "discard", "stats"),
]
WAIT = ["wait", "finished", "drained", "enqueue when full"]


class QueueCancellationSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    async def interrupted(self, clock: Clock, prepare: Callable[[], Awaitable[Call]]) -> AsyncIterator[None]:
        """Cancel the call that ``prepare`` gives at each of its awaits in turn, anew each time; yield after each.

        In real time awaits cannot be counted; the call is then cancelled after longer and longer whiles.
        """
        for moment in ("waiting", "resuming") if clock.is_virtual else ():
            for at in range(1, 100):
                call = await prepare()
                async with CheckpointCanceller(at, moment=moment) as canceller:
                    await call()
                yield
                if not canceller.reached:
                    break
        for step in () if clock.is_virtual else range(20):
            call = await prepare()
            with anyio.CancelScope() as scope:
                scope.deadline = anyio.current_time() + 0.0005 * step  # noqa: TID251 - anyio's own deadlines
                await call()
            yield

    @pytest.mark.parametrize("method", [*NEVER_WAIT, *WAIT])
    async def test_every_method_lets_others_run(self, make_queue: MakeQueue, timeline: Timeline, method: str) -> None:
        """So it can be cancelled, and has then done nothing."""
        queue = await make_queue(capacity=3)
        await submit(queue, *items("a b c"))
        lease = (await take(queue, calls=1, size=1))[0]
        before = await count(queue), await queue.paused(), await entry(queue, "b")
        calls: dict[str, Call] = {
            "open": queue.open,
            "close": queue.close,
            "enqueue": lambda: submit(queue, item("a")),
            "enqueue when full": lambda: queue.enqueue(items("d"), wait_until=timeline.after(50)),
            "claim": lambda: claim(queue),
            "wait": lambda: queue.wait(0, None),
            "settle": lambda: queue.settle("worker", [ended(lease)]),
            "extend": lambda: queue.extend("worker"),
            "park": lambda: queue.park(ADA, timeline.after(50)),
            "pause": lambda: queue.pause(EVERYTHING),
            "resume": lambda: queue.resume(EVERYTHING),
            "paused": queue.paused,
            "set_weight": lambda: queue.set_weight(ADA, 2),
            "cancel": lambda: queue.cancel(["b"]),
            "get": lambda: queue.get(["b"]),
            "finished": lambda: queue.finished("b", None),
            "drained": lambda: queue.drained(EVERYTHING, None),
            "dead_letters": lambda: queue.dead_letters(EVERYTHING),
            "replay": lambda: queue.replay(["b"]),
            "discard": lambda: queue.discard(["b"]),
            "stats": lambda: queue.stats(EVERYTHING),
        }
        with anyio.CancelScope() as scope:
            scope.cancel()
            await calls[method]()
        assert scope.cancelled_caught, f"{method} did not await"
        assert (await count(queue), await queue.paused(), await entry(queue, "b")) == before
        assert names(await claim(queue)) == "b c"

    async def test_a_cancelled_enqueue_accepts_all_or_nothing(self, make_queue: MakeQueue, clock: Clock) -> None:
        queue = await make_queue()
        new = [*items("a b c"), item("d", lane=BOB)]

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            return lambda: queue.enqueue(new)

        async for _ in self.interrupted(clock, prepare):
            accepted = (await count(queue)).pending
            assert accepted in {0, 4}
            answers = await queue.enqueue(new)
            assert [answer.duplicate for answer in answers] == [accepted == 4] * 4
            assert names(await claim(queue, calls=1)) == "a b c"
            assert names(await claim(queue)) == "d"

    async def test_a_cancelled_wait_for_room_takes_none(
        self, make_queue: MakeQueue, clock: Clock, timeline: Timeline
    ) -> None:
        """Who waits behind gets it then, also if the room was there already."""
        queue = await make_queue()
        tasks = anyio.create_task_group()

        async def make_room() -> None:
            await timeline.sleep(1)
            tasks.start_soon(partial(queue.enqueue, items("behind"), wait_until=timeline.after(50)))
            await timeline.sleep(1)
            await complete(queue, await take(queue))

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue(capacity=2)
            await submit(queue, *items("a b"))
            tasks.start_soon(make_room)
            return lambda: queue.enqueue(items("c d"), wait_until=timeline.after(50))

        async with tasks:
            async for _ in self.interrupted(clock, prepare):
                await timeline.sleep(3)
                accepted = [one is not None for one in await queue.get(["c", "d", "behind"])]
                assert accepted in ([True, True, False], [False, False, True])
                await complete(queue, await take(queue))
                await timeline.sleep(1)
                assert (await queue.get(["behind"]))[0] is not None

    async def test_a_cancelled_claim_loses_nothing(
        self, make_queue: MakeQueue, clock: Clock, timeline: Timeline
    ) -> None:
        """What nobody was told of is not leased, and nothing counts as sent; what was told is as if not cancelled."""
        queue = await make_queue()
        told: list[Claim] = []

        async def ask() -> None:
            told.append(await claim(queue, "cancelled"))

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            told.clear()
            await submit(queue, *items("a1 a2", "a"), item("b", lane=BOB))
            return ask

        async for _ in self.interrupted(clock, prepare):
            leased = (await count(queue)).leased
            assert leased == (3 if told else 0)
            found = [item for batch in (await claim(queue, "other")).batches for lease in batch for item in lease.items]
            assert len(found) == 3 - leased
            assert all((item.lapses, item.sent_as) == (0, 0) for item in found)
            await queue.extend("other")
            if leased:
                await timeline.sleep(16)
                assert sorted(names(await claim(queue, "other")).split()) == ["a1", "a2", "b"]

    async def test_a_cancelled_settlement_settles_all_or_nothing(self, make_queue: MakeQueue, clock: Clock) -> None:
        queue = await make_queue()

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            await submit(queue, *items("a b c"))
            a, b, c = await take(queue)
            settlements = [ended(a), attempted(b), Settlement(c)]
            return lambda: queue.settle("worker", settlements)

        async for _ in self.interrupted(clock, prepare):
            states = [(await entry(queue, name)).state for name in "abc"]
            assert states in (["leased"] * 3, ["completed", "retryable", "available"])

    @pytest.mark.parametrize("method", ["cancel", "replay", "discard"])
    async def test_a_cancelled_command_does_all_or_nothing(
        self, make_queue: MakeQueue, clock: Clock, method: str
    ) -> None:
        queue = await make_queue()

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            if method == "cancel":
                await submit(queue, *items("a b"), item("c", lane=BOB))
            else:
                await bury(queue, *items("a b"), item("c", lane=BOB))
            return lambda: getattr(queue, method)(["a", "b", "c"])

        async for _ in self.interrupted(clock, prepare):
            states = [found and found.state for found in await queue.get(["a", "b", "c"])]
            assert (
                states
                in {
                    "cancel": ([OperationState.AVAILABLE] * 3, [OperationState.CANCELLED] * 3),
                    "replay": ([OperationState.DEAD] * 3, [OperationState.AVAILABLE] * 3),
                    "discard": ([OperationState.DEAD] * 3, [None] * 3),
                }[method]
            )

    @pytest.mark.parametrize("method", ["park", "pause", "resume", "set_weight"])
    async def test_a_cancelled_order_for_lanes_is_followed_or_not(
        self, make_queue: MakeQueue, clock: Clock, timeline: Timeline, method: str
    ) -> None:
        queue = await make_queue()

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            await submit(queue, item("a"), item("b", lane=BOB))
            if method == "resume":
                await queue.pause(Selector("acme"))
            return {
                "park": lambda: queue.park(ADA, timeline.after(5)),
                "pause": lambda: queue.pause(Selector("acme")),
                "resume": lambda: queue.resume(Selector("acme")),
                "set_weight": lambda: queue.set_weight(ADA, 2),
            }[method]

        async for _ in self.interrupted(clock, prepare):
            assert names(await claim(queue)) in {"park": ("b", "a b"), "set_weight": ("a b",)}.get(method, ("", "a b"))
            await queue.resume(EVERYTHING)
            await timeline.sleep(6)
            await queue.extend("worker")
            await claim(queue)
            assert (await count(queue)).leased == 2

    @pytest.mark.parametrize("method", ["wait", "finished", "drained"])
    async def test_a_cancelled_wait_disturbs_nobody(
        self, make_queue: MakeQueue, clock: Clock, timeline: Timeline, method: str
    ) -> None:
        queue = await make_queue()
        woken: list[str] = []

        async def wait(kind: str, marker: int) -> None:
            if kind == "wait":
                await queue.wait(marker, None)
            elif kind == "finished":
                await queue.finished("a", None)
            else:
                await queue.drained(EVERYTHING, None)
            woken.append(kind)

        tasks = anyio.create_task_group()

        async def work() -> None:
            await timeline.sleep(1)
            await submit(queue, item("b", lane=Lane("elsewhere", "eve")))
            await complete(queue, await take(queue))
            await complete(queue, leases(await claim(queue, providers=["elsewhere"])))

        async def prepare() -> Call:
            nonlocal queue
            queue = await make_queue()
            woken.clear()
            await submit(queue, item("a"))
            marker = (await queue.claim(ClaimRequest("nobody", 0, {}))).marker
            for kind in ("wait", "finished", "drained"):
                tasks.start_soon(wait, kind, marker)
            tasks.start_soon(work)
            return lambda: wait(method, marker)

        async with tasks:
            async for _ in self.interrupted(clock, prepare):
                await timeline.sleep(3)
                assert {"wait", "finished", "drained"} <= set(woken)
