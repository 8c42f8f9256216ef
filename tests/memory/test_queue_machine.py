"""The in-memory queue against a simple model of it: method (a) of the failure catalogue, cases 5, 6, 7, 18 and 70."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ratesync.errors import DeadLettersFull, QueueFull
from ratesync.memory.queue import MemoryQueue
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import ClaimRequest, Finished, Item, Lease, Settlement
from tests.clocks import ManualClock
from tests.memory.queue_model import QueueModel

T = TypeVar("T")

LANES = [Lane("p", "a"), Lane("p", "b"), Lane("q", "a")]
WORKERS = ["w1", "w2", "w3"]
NAMES = [f"i{number:02}" for number in range(20)]
LEASE_SECONDS = 10.0

lanes = st.sampled_from(LANES)
workers = st.sampled_from(WORKERS)
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
selectors = st.builds(Selector, st.sampled_from([None, "p", "q"]), st.sampled_from([None, "a", "b"]))
whiles = st.sampled_from([-1.0, 0.5, 3.0, 8.0, 12.0])
ends = st.sampled_from([OperationState.COMPLETED, OperationState.DEAD, OperationState.CANCELLED])
lane_maxima = st.dictionaries(st.sampled_from(["p", "q"]), st.integers(1, 3), max_size=2)
sizes = st.dictionaries(st.sampled_from(["p", "q"]), st.integers(1, 4), min_size=1)


class QueueMachine(RuleBasedStateMachine):
    """Each rule does the same with both; then both must look the same from outside."""

    queue_class = MemoryQueue

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.leases: list[tuple[str, Lease]] = []

    def teardown(self) -> None:
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        self.model.now = self.clock.at
        self.model.catch_up()
        return self.loop.run_until_complete(call)

    @initialize(mailbox_max=st.integers(1, 4), capacity=st.integers(6, 16), results=st.integers(0, 8))
    def start(self, mailbox_max: int, capacity: int, results: int) -> None:
        options: dict[str, Any] = {
            "mailbox_max": mailbox_max,
            "capacity": capacity,
            "dead_letter_capacity": 3,
            "result_capacity": results,
            "priority_step": 4.0,
            "lease_seconds": LEASE_SECONDS,
        }
        self.model = QueueModel(**options)
        self.queue = self.queue_class(clock=self.clock, **options)

    @rule(
        items=st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                lanes,
                st.sampled_from(["k1", "k2", "k3"]),
                st.integers(-1, 2),
                st.none() | whiles,
                st.none() | st.none() | st.sampled_from(["d1", "d2"]),
            ),
            min_size=2,
            max_size=6,
        )
    )
    def enqueue(self, items: Sequence[tuple[str, Lane, str, int, float | None, str | None]]) -> None:
        new = [
            Item(name, lane, key, name.encode(), priority, None if wait is None else self.clock.at + wait, dedupe)
            for name, lane, key, priority, wait, dedupe in items
        ]
        call = self.queue.enqueue(new)
        self.model.now = self.clock.at
        self.model.catch_up()
        is_stopped = self.model.is_stopped(new)
        if self.model.has_room(new) and not is_stopped:
            assert self.run(call) == self.model.enqueue(new)
            return
        with pytest.raises(QueueFull) as error:
            self.run(call)
        assert isinstance(error.value, DeadLettersFull) == is_stopped

    @rule(worker=workers, calls=st.integers(0, 4), sizes=sizes, lane_max=lane_maxima)
    def claim(self, worker: str, calls: int, sizes: dict[str, int], lane_max: dict[str, int]) -> None:
        request = ClaimRequest(worker, calls, sizes, lane_max)
        claimed = self.run(self.queue.claim(request))
        self.model.check_claim(request, claimed)
        self.leases += [(worker, lease) for batch in claimed.batches for lease in batch]

    @precondition(lambda self: self.model.held)
    @rule(
        data=st.data(),
        fates=st.lists(st.sampled_from([None, "attempted", "unsent"]) | ends, min_size=4, max_size=4),
        counted=st.booleans(),
        sent=st.booleans(),
        rest=st.none() | whiles,
    )
    def settle(
        self, data: st.DataObject, fates: list[str | None], counted: bool, sent: bool, rest: float | None
    ) -> None:
        """A lease in force."""
        worker, lease = data.draw(st.sampled_from(self.leases_in_force()))
        assert self.settle_lease(worker, lease, fates, counted=counted, sent=sent, rest=rest)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), worker=workers, fate=st.sampled_from([None, "attempted", OperationState.COMPLETED]))
    def settle_any(self, data: st.DataObject, worker: str, fate: str | None) -> None:
        """Any lease that ever was, by anybody."""
        holder, lease = data.draw(st.sampled_from(self.leases))
        self.settle_lease(data.draw(st.sampled_from([holder, worker])), lease, [fate] * 4)

    @rule(worker=workers)
    def claim_all(self, worker: str) -> None:
        self.claim(worker, 100, {"p": 100, "q": 100}, {})

    @precondition(lambda self: self.model.held)
    @rule(fate=st.sampled_from(["attempted", "attempted", OperationState.DEAD, OperationState.COMPLETED]))
    def settle_all(self, fate: str) -> None:
        """Everything that is leased has the same fate."""
        for worker, lease in self.leases_in_force():
            self.settle_lease(worker, lease, [fate] * 4)

    def leases_in_force(self) -> list[tuple[str, Lease]]:
        tokens = {holding.token for holding in self.model.held.values()}
        return [one for one in self.leases if one[1].token in tokens]

    def settle_lease(
        self,
        worker: str,
        lease: Lease,
        fates: Sequence[str | None],
        *,
        counted: bool = True,
        sent: bool = True,
        rest: float | None = None,
    ) -> bool:
        pairs = list(zip(lease.items, fates, strict=False))
        settlement = Settlement(
            lease,
            finished=tuple(
                Finished(leased.id, fate, fate.encode()) for leased, fate in pairs if isinstance(fate, OperationState)
            ),
            attempted=tuple(leased.id for leased, fate in pairs if fate == "attempted"),
            unsent=tuple(leased.id for leased, fate in pairs if fate == "unsent"),
            counted=counted,
            sent=sent,
            resume_at=None if rest is None else self.clock.at + rest,
        )
        (answer,) = self.run(self.queue.settle(worker, [settlement]))
        self.model.alive[worker] = self.clock.at
        assert answer == self.model.settle(worker, settlement)
        return answer

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 9.5, 10.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.at += seconds

    @rule(worker=workers, how=st.sampled_from(["extend", "keep_alive"]))
    def sign_of_life(self, worker: str, how: str) -> None:
        if how == "extend":
            self.run(self.queue.extend(worker))
        else:
            self.queue.keep_alive(worker)
        self.model.alive[worker] = self.clock.at

    @precondition(lambda self: self.leases)
    @rule(worker=workers)
    def look_after_leases(self, worker: str) -> None:
        """Of all leases that ever were, a worker holds those that it could settle."""
        leases = [lease for _, lease in self.leases]
        answers = self.run(self.queue.extend(worker, leases))
        self.model.alive[worker] = self.clock.at
        held = {(holding.worker, holding.token) for holding in self.model.held.values()}
        assert answers == [(worker, lease.token) in held for lease in leases]

    @rule(crashes=st.integers(1, 3))
    def holder_crashes(self, crashes: int) -> None:
        """Whoever claims everything dies, several times in a row."""
        for _ in range(crashes):
            self.claim_all("crasher")
            self.clock.at += LEASE_SECONDS
        self.claim("w1", 1, {"p": 1, "q": 1}, {})

    @rule(ids=names)
    def cancel(self, ids: list[str]) -> None:
        assert self.run(self.queue.cancel(ids)) == [self.model.cancel(name) for name in ids]

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def cancel_what_is_leased(self, data: st.DataObject) -> None:
        ids = [one.id for holding in self.model.held.values() for one in holding.operations]
        self.cancel([data.draw(st.sampled_from(ids))])

    @rule(lane=lanes, wait=whiles)
    def park(self, lane: Lane, wait: float) -> None:
        until = self.clock.at + wait
        self.run(self.queue.park(lane, until))
        self.model.parks[lane] = until

    @rule(selector=selectors)
    def pause(self, selector: Selector) -> None:
        self.run(self.queue.pause(selector))
        if selector not in self.model.pauses:
            self.model.pauses.append(selector)

    @rule(selector=selectors)
    def resume(self, selector: Selector) -> None:
        self.run(self.queue.resume(selector))
        self.model.resume(selector)

    @rule(ids=names)
    def replay(self, ids: list[str]) -> None:
        assert self.run(self.queue.replay(ids)) == [self.model.replay(name) for name in ids]

    @rule(ids=names)
    def discard(self, ids: list[str]) -> None:
        assert self.run(self.queue.discard(ids)) == [self.model.discard(name) for name in ids]

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data(), how=st.sampled_from(["replay", "discard"]))
    def decide(self, data: st.DataObject, how: str) -> None:
        """About a letter that is there."""
        ids = [data.draw(st.sampled_from([one.id for one in self.model.dead]))]
        self.replay(ids) if how == "replay" else self.discard(ids)

    @rule()
    def open_all(self) -> None:
        self.resume(Selector())
        for lane in LANES:
            self.park(lane, -1.0)

    @invariant()
    def both_look_the_same(self) -> None:
        self.run(self.compare())

    async def compare(self) -> None:
        model = self.model
        known = [model.known.get(name) for name in NAMES]
        assert await self.queue.get(NAMES) == [one and one.entry() for one in known]
        for selector in (Selector(), Selector("p"), Selector(None, "a"), Selector("p", "b")):
            assert await self.queue.stats(selector) == model.stats(selector)
        assert await self.queue.dead_letters(Selector()) == [one.entry() for one in model.dead]
        assert await self.queue.paused() == model.pauses
        stats = await self.queue.stats(Selector())
        assert stats.pending + stats.dead + model.ended + model.discarded == model.accepted, "something was lost"
        if not stats.pending:
            assert await self.queue.drained(Selector(), None)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
