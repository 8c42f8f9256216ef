"""The part of the queues' conformance suite that is about lanes: fair shares, parking, pausing, schedules."""

from __future__ import annotations

import pytest

from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.protocols import QueueBackend
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    ELSEWHERE,
    EVERYTHING,
    claim,
    complete,
    count,
    ended,
    entry,
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
from ratesync.testing.queue_part import QueuePart, Timeline


class QueueLaneSuite(QueuePart):
    """Part of :class:`ratesync.testing.queue_suite.QueueSuite`."""

    crowd = 100_000
    """Operations in the lane that must not delay others. Take less for a backend that is far away."""

    async def fill(self, queue: QueueBackend, lane: Lane, number: int) -> None:
        """Enqueue many."""
        for start in range(0, number, 1000):
            await submit(
                queue,
                *(item(f"{lane}{n}", f"{n}", lane=lane, body=b"") for n in range(start, min(start + 1000, number))),
            )

    async def served(self, queue: QueueBackend, calls: int, size: int, *providers: str) -> list[tuple[Lane, int]]:
        """Claim and complete one batch after the other: the lane of each and how many items it had."""
        turns: list[tuple[Lane, int]] = []
        for _ in range(calls):
            claimed = await claim(queue, calls=1, size=size, providers=providers or ["acme"])
            taken = leases(claimed)
            if not taken:
                break
            turns.append((taken[0].lane, len(taken)))
            await complete(queue, taken)
        return turns

    async def test_a_crowded_lane_does_not_delay_another(self, queue: QueueBackend) -> None:
        await self.fill(queue, ADA, self.crowd)
        await self.served(queue, 5, 100)
        await self.fill(queue, BOB, 10)
        turns = await self.served(queue, 2, 100)
        assert (BOB, 10) in turns

    async def test_lanes_that_are_always_ready_take_turns(self, queue: QueueBackend) -> None:
        lanes = [ADA, BOB, Lane("acme", "eve"), ELSEWHERE]
        for lane in lanes:
            await self.fill(queue, lane, 200)
        had = dict.fromkeys(lanes, 0)
        for lane, amount in await self.served(queue, 60, 10, "acme", "elsewhere"):
            had[lane] += amount
            assert max(had.values()) - min(had.values()) <= 10

    async def test_several_batches_of_one_claim_are_shared_fairly(self, queue: QueueBackend) -> None:
        await self.fill(queue, ADA, 100)
        await self.fill(queue, BOB, 100)
        batches = (await claim(queue, calls=6, size=5)).batches
        assert sorted(batch[0].lane for batch in batches) == [ADA] * 3 + [BOB] * 3

    async def test_shares_go_by_weight(self, queue: QueueBackend) -> None:
        await queue.set_weight(BOB, 3)
        await self.fill(queue, ADA, 400)
        await self.fill(queue, BOB, 400)
        had = {ADA: 0, BOB: 0}
        for lane, amount in await self.served(queue, 40, 10):
            had[lane] += amount
            assert abs(had[ADA] - had[BOB] / 3) <= 10
        await queue.set_weight(BOB, 1)
        had = {ADA: 0, BOB: 0}
        for lane, amount in await self.served(queue, 10, 10):
            had[lane] += amount
        assert abs(had[ADA] - had[BOB]) <= 20

    async def test_a_lane_saves_nothing_up_while_it_is_idle(self, queue: QueueBackend) -> None:
        await self.fill(queue, ADA, 1000)
        await self.fill(queue, BOB, 1)
        await self.served(queue, 50, 10)
        await submit(queue, *(item(f"late{number}", lane=BOB) for number in range(100)))
        had = {ADA: 0, BOB: 0}
        for lane, amount in await self.served(queue, 6, 10):
            had[lane] += amount
        assert had == {ADA: 30, BOB: 30}

    async def test_a_lane_that_comes_and_goes_does_not_push_others_aside(self, queue: QueueBackend) -> None:
        """One operation at a time, and a new one as soon as it is done, before each claim of a busy worker."""
        await self.fill(queue, ADA, 100)
        had = {ADA: 0, BOB: 0}
        for number in range(60):
            await submit(queue, item(f"next{number}", lane=BOB))
            for lane, amount in await self.served(queue, 1, 1):
                had[lane] += amount
        assert abs(had[ADA] - had[BOB]) <= 2

    async def test_a_provider_that_was_not_served_claims_nothing_for_it(self, queue: QueueBackend) -> None:
        await self.fill(queue, ADA, 1000)
        await self.fill(queue, ELSEWHERE, 1000)
        await self.served(queue, 50, 10, "acme")
        turns = await self.served(queue, 10, 10, "acme", "elsewhere")
        assert 4 <= sum(lane == ADA for lane, _ in turns) <= 6

    async def test_a_new_lane_does_not_wait_for_what_others_missed(self, queue: QueueBackend) -> None:
        """While one provider's lanes are served, those of another fall behind; a new one there joins them."""
        await self.fill(queue, ADA, 1000)
        await self.fill(queue, ELSEWHERE, 1000)
        await self.served(queue, 50, 10, "acme")
        await submit(queue, item("new", lane=Lane("elsewhere", "bob")))
        turns = await self.served(queue, 2, 10, "elsewhere")
        assert (Lane("elsewhere", "bob"), 1) in turns

    async def test_a_parked_lane_is_left_alone_until_its_instant(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a1 a2"), item("b", lane=BOB))
        until = timeline.after(10)
        await queue.park(ADA, until)
        claimed = await claim(queue)
        assert names(claimed) == "b"
        assert claimed.next_at == pytest.approx(until, abs=0.01)
        await timeline.sleep(9)
        assert names(await claim(queue)) == ""
        await timeline.sleep(2)
        assert names(await claim(queue)) == "a1 a2"

    async def test_an_empty_lane_can_be_parked(self, queue: QueueBackend, timeline: Timeline) -> None:
        await queue.park(ADA, timeline.after(10))
        await submit(queue, item("a"))
        assert names(await claim(queue)) == ""
        await timeline.sleep(11)
        assert names(await claim(queue)) == "a"

    async def test_a_lane_stays_parked_when_it_runs_empty(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        taken = await take(queue)
        await queue.park(ADA, timeline.after(10))
        await complete(queue, taken)
        await submit(queue, item("b"))
        assert names(await claim(queue)) == ""
        await timeline.sleep(11)
        assert names(await claim(queue)) == "b"

    async def test_the_last_park_counts(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        await queue.park(ADA, timeline.after(5))
        await queue.park(ADA, timeline.after(10))
        await timeline.sleep(6)
        assert names(await claim(queue)) == ""
        await queue.park(ADA, timeline.after(2))
        await timeline.sleep(3)
        assert names(await claim(queue)) == "a"

    async def test_a_park_in_the_past_reopens_the_lane(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        await queue.park(ADA, timeline.after(50))
        assert names(await claim(queue)) == ""
        await queue.park(ADA, timeline.after(-1))
        assert names(await claim(queue)) == "a"

    async def test_leases_of_a_parked_lane_go_on(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, *items("a b"))
        a, b = await take(queue)
        await queue.park(ADA, timeline.after(10))
        await complete(queue, [a])
        await release(queue, [b])
        assert names(await claim(queue)) == ""
        await timeline.sleep(11)
        assert names(await claim(queue)) == "b"

    @pytest.mark.parametrize(
        ("selector", "left"),
        [
            (Selector("acme", "ada"), "b e"),
            (Selector("acme"), "e"),
            (Selector(None, "ada"), "b"),
            (Selector(), ""),
        ],
        ids=str,
    )
    async def test_paused_lanes_are_left_alone(
        self, queue: QueueBackend, timeline: Timeline, selector: Selector, left: str
    ) -> None:
        """Those that exist, and those to come."""
        new = [item("a"), item("b", lane=BOB), item("e", lane=ELSEWHERE)]
        await queue.pause(selector)
        await submit(queue, *new)
        providers = ["acme", "elsewhere"]
        claimed = await claim(queue, providers=providers)
        assert names(claimed) == left
        assert claimed.next_at is None
        await release(queue, leases(claimed))
        await timeline.sleep(50)
        assert names(await claim(queue, providers=providers)) == left
        assert list(await queue.paused()) == [selector]
        await queue.resume(selector)
        assert list(await queue.paused()) == []
        await timeline.sleep(20)
        assert sorted(names(await claim(queue, providers=providers)).split()) == ["a", "b", "e"]

    async def test_a_lane_is_paused_while_it_has_work(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b c"))
        assert names(await claim(queue, calls=1, size=1)) == "a"
        await queue.pause(Selector("acme", "ada"))
        assert names(await claim(queue)) == ""
        await queue.resume(Selector("acme", "ada"))
        assert names(await claim(queue)) == "b c"

    async def test_leases_of_a_paused_lane_go_on(self, queue: QueueBackend) -> None:
        await submit(queue, *items("a b"))
        a, b = await take(queue)
        await queue.pause(EVERYTHING)
        await complete(queue, [a])
        await release(queue, [b])
        assert await state(queue, "a") is OperationState.COMPLETED
        assert names(await claim(queue)) == ""

    async def test_resuming_undoes_the_pauses_that_it_covers(self, queue: QueueBackend) -> None:
        lane, other, provider = Selector("acme", "ada"), Selector("acme", "bob"), Selector("acme")
        connection, everything = Selector(None, "ada"), Selector()
        for selector in (lane, other, provider, connection, everything, lane):
            await queue.pause(selector)
        assert set(await queue.paused()) == {lane, other, provider, connection, everything}
        assert len(await queue.paused()) == 5
        await queue.resume(lane)
        assert set(await queue.paused()) == {other, provider, connection, everything}
        await queue.resume(provider)
        assert set(await queue.paused()) == {connection, everything}
        await queue.resume(Selector("elsewhere"))
        assert set(await queue.paused()) == {connection, everything}
        await queue.resume(everything)
        assert list(await queue.paused()) == []

    async def test_a_lane_is_open_when_no_pause_holds_it(self, queue: QueueBackend) -> None:
        await submit(queue, item("a"), item("b", lane=BOB))
        await queue.pause(Selector("acme", "ada"))
        await queue.pause(Selector("acme"))
        await queue.resume(Selector("acme", "ada"))
        assert names(await claim(queue)) == ""
        await queue.resume(Selector("acme"))
        assert sorted(names(await claim(queue)).split()) == ["a", "b"]

    async def test_a_parked_lane_stays_parked_when_it_is_resumed(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a"))
        await queue.park(ADA, timeline.after(10))
        await queue.pause(EVERYTHING)
        await queue.resume(EVERYTHING)
        assert names(await claim(queue)) == ""
        await timeline.sleep(11)
        assert names(await claim(queue)) == "a"

    async def test_a_scheduled_item_waits_for_its_instant(self, queue: QueueBackend, timeline: Timeline) -> None:
        due_at = timeline.after(10)
        await submit(queue, item("a", not_before=due_at))
        found = await entry(queue, "a")
        assert found.state is OperationState.SCHEDULED
        assert found.due_at == pytest.approx(due_at, abs=0.01)
        stats = await count(queue)
        assert (stats.scheduled, stats.available, stats.pending) == (1, 0, 1)
        claimed = await claim(queue)
        assert names(claimed) == ""
        assert claimed.next_at == pytest.approx(due_at, abs=0.01)
        await timeline.sleep(9)
        assert names(await claim(queue)) == ""
        await timeline.sleep(2)
        assert names(await claim(queue)) == "a"

    async def test_an_instant_in_the_past_is_no_schedule(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a", not_before=timeline.after(-5)))
        assert await state(queue, "a") is OperationState.AVAILABLE
        assert names(await claim(queue)) == "a"

    async def test_a_scheduled_item_holds_nobody_up(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a1", "a", not_before=timeline.after(10)), *items("a2", "a"), item("b"))
        assert names(await claim(queue)) == "a2 b"

    async def test_a_scheduled_item_enters_behind_what_is_there(self, queue: QueueBackend, timeline: Timeline) -> None:
        """And before what comes later, also if nobody has looked at the queue in the meantime."""
        await submit(
            queue,
            item("third", "a", not_before=timeline.after(10)),
            item("second", "a", not_before=timeline.after(5)),
            *items("first", "a"),
        )
        await timeline.sleep(11)
        await submit(queue, *items("last", "a"))
        assert names(await claim(queue)) == "first second third last"

    async def test_a_scheduled_item_of_a_held_mailbox_comes_behind_it(
        self, queue: QueueBackend, timeline: Timeline
    ) -> None:
        await submit(queue, *items("a1", "a"), item("a2", "a", not_before=timeline.after(5)))
        lease = await take_one(queue)
        await timeline.sleep(6)
        assert names(await claim(queue, "other")) == ""
        await release(queue, [lease])
        assert names(await claim(queue)) == "a1 a2"

    async def test_a_scheduled_item_waits_for_its_lane(self, queue: QueueBackend, timeline: Timeline) -> None:
        await submit(queue, item("a", not_before=timeline.after(5)))
        await queue.park(ADA, timeline.after(10))
        await timeline.sleep(6)
        assert names(await claim(queue)) == ""
        await queue.pause(EVERYTHING)
        await timeline.sleep(5)
        assert names(await claim(queue)) == ""
        await queue.resume(EVERYTHING)
        assert names(await claim(queue)) == "a"

    async def test_the_next_instant_is_the_earliest(self, queue: QueueBackend, timeline: Timeline) -> None:
        """Of schedules, rests, parks and the leases of others."""
        await submit(queue, item("rests"))
        rests = await take_one(queue)
        await submit(queue, item("dead", lane=BOB))
        await take_one(queue, "other")
        await submit(queue, item("scheduled", not_before=timeline.after(3)), item("parked", lane=Lane("acme", "eve")))
        await queue.park(Lane("acme", "eve"), timeline.after(6))
        assert await settle(queue, ended(rests))
        instants = [timeline.after(units) for units in (3, 6, 15)]
        for instant, name in zip(instants, ("scheduled", "parked", "dead"), strict=True):
            claimed = await claim(queue)
            assert claimed.next_at == pytest.approx(instant, abs=0.5 * self.second)
            await timeline.sleep((instant - timeline.clock.now()) / self.second + 0.5)
            assert names(await claim(queue)) == name
            await queue.extend("worker")
