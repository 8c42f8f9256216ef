"""Queues with one fault each. A conformance suite that lets one of them pass does not check what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
from attrs import evolve

from ratesync.memory.lane_queue import LaneQueue
from ratesync.memory.leases import Leases
from ratesync.memory.mailbox import Hold, Mailbox, Record
from ratesync.memory.queue import MemoryQueue
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import (
    CancelResult,
    Claim,
    ClaimRequest,
    Enqueued,
    Entry,
    Item,
    Lease,
    LeasedItem,
    Settlement,
)


def changed(options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The options, some of them replaced."""
    return {**options, **changes}


def with_items(claim: Claim, **changes: Any) -> Claim:
    """The claim with every leased item changed."""

    def with_changes(lease: Lease) -> Lease:
        return lease._replace(items=tuple(leased._replace(**changes) for leased in lease.items))

    return evolve(claim, batches=tuple(tuple(with_changes(lease) for lease in batch) for batch in claim.batches))


class TokenIgnored(MemoryQueue):
    """A late settlement counts for whoever holds the mailbox now."""

    class Leases(Leases):
        def release(self, worker: str, lease: Lease) -> Hold | None:
            for name, known in self._workers.items():
                for hold in known.holds.get(lease.lane.provider, {}).values():
                    if (hold.records[0].lane, hold.records[0].key) == (lease.lane, lease.key):
                        return super().release(name, lease._replace(token=hold.token))
            return None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._leases = self._store.leases = TokenIgnored.Leases(seconds=self._leases.seconds)


class LossNotTold(MemoryQueue):
    """A worker is told that it holds whatever it asks for."""

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        await super().extend(worker)
        return [True] * len(leases)


class LossToldInBulk(MemoryQueue):
    """A worker that has lost one lease is told that it has lost all."""

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        held = await super().extend(worker, leases)
        return [all(held)] * len(held)


class HeldByAnybody(MemoryQueue):
    """A worker is told that it holds what another one does."""

    class Leases(Leases):
        def is_held(self, worker: str, lease: Lease) -> bool:
            return any(super(HeldByAnybody.Leases, self).is_held(name, lease) for name in (worker, *self._workers))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._leases = self._store.leases = HeldByAnybody.Leases(seconds=self._leases.seconds)


class LeaseNeverEnds(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._store.lapse = lambda now: None  # type: ignore[method-assign]


class AttemptNotCounted(MemoryQueue):
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await super().settle(worker, [settlement._replace(counted=False) for settlement in settlements])


class AlwaysSent(MemoryQueue):
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await super().settle(worker, [settlement._replace(sent=True) for settlement in settlements])


class MarkKept(MemoryQueue):
    """What turned out not to have been applied stays marked as sent."""

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await super().settle(worker, [settlement._replace(unsent=()) for settlement in settlements])


class GivenBackCounted(MemoryQueue):
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        everything = [
            settlement._replace(attempted=tuple(leased.id for leased in settlement.lease.items))
            for settlement in settlements
        ]
        return await super().settle(worker, everything)


class RestIgnored(MemoryQueue):
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await super().settle(worker, [settlement._replace(resume_at=None) for settlement in settlements])


class BodyShared(MemoryQueue):
    """It keeps the list it was given, and looks into it again when something is claimed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: dict[str, Sequence[Item]] = {}

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        answers = await super().enqueue(items, wait_until=wait_until)
        self._given.update((item.id, items) for item in items)
        return answers

    async def claim(self, request: ClaimRequest) -> Claim:
        claimed = await super().claim(request)
        leases = [lease for batch in claimed.batches for lease in batch]
        bodies = {item.id: item.body for lease in leases for one in lease.items for item in self._given[one.id]}

        def shared(leased: LeasedItem) -> LeasedItem:
            return leased._replace(body=bodies.get(leased.id, b""))

        batches = tuple(
            tuple(lease._replace(items=tuple(shared(leased) for leased in lease.items)) for lease in batch)
            for batch in claimed.batches
        )
        return evolve(claimed, batches=batches)


class DuplicateEnqueuedTwice(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ledger.earlier = lambda item: None  # type: ignore[method-assign]


class OrderReversed(MemoryQueue):
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        return list(await super().enqueue(items[::-1], wait_until=wait_until))[::-1]


class ReturnedToTheEnd(MemoryQueue):
    """What goes back to its mailbox comes behind what is there."""

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answers = await super().settle(worker, settlements)
        for settlement in settlements:
            queue = self._lanes.find(settlement.lease.lane)
            box = None if queue is None else queue.mailboxes.get(settlement.lease.key)
            ids = {leased.id for leased in settlement.lease.items}
            for _ in ids:
                if isinstance(box, Mailbox) and (record := box.head) and record.next and record.id in ids:
                    box.remove(record)
                    box.append(record)
        return answers


class RacingClaim(MemoryQueue):
    """It lets others run between looking at what is there and taking it."""

    async def claim(self, request: ClaimRequest) -> Claim:
        seen = await super().claim(request)
        now = self._clock.now()
        self._store.settle(request.worker, [Settlement(lease) for batch in seen.batches for lease in batch], now)
        self._store.conclude(now)
        await anyio.lowlevel.checkpoint()
        self._store.lease(request, mailbox_max=self._mailbox_max, budget=self._claim_bytes, now=now)
        return seen


class ParkIgnored(MemoryQueue):
    async def park(self, lane: Lane, until: float) -> None:
        await anyio.lowlevel.checkpoint()


class NewLanesNotPaused(MemoryQueue):
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        new = [item.lane for item in items if self._lanes.find(item.lane) is None]
        answers = await super().enqueue(items, wait_until=wait_until)
        for lane in new:
            if (queue := self._lanes.find(lane)) is not None:
                queue.is_paused = False
                self._lanes.plan(queue, self._clock.now())
        return answers


class ResumeTooMuch(MemoryQueue):
    async def resume(self, selector: Selector) -> None:
        await super().resume(Selector())


class CapacityIgnored(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**changed(options, capacity=1_000_000_000))


class LatecomersFirst(MemoryQueue):
    """Who comes while others wait for room takes what there is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        room = self._room
        room.has = lambda size: room.pending + size <= room.capacity  # type: ignore[method-assign]


class HalfEnqueue(MemoryQueue):
    """Cancelled in the middle, it has accepted some."""

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        answers: list[Enqueued] = []
        for item in items:
            answers += await super().enqueue([item], wait_until=wait_until)
        return answers


class LapseNotCounted(MemoryQueue):
    async def claim(self, request: ClaimRequest) -> Claim:
        return with_items(await super().claim(request), lapses=0)


class LapseDoubled(MemoryQueue):
    """The limit of a poison pill would be off."""

    class Leases(Leases):
        def lapsed(self, now: float) -> list[Hold]:
            lost = super().lapsed(now)
            for hold in lost:
                for record in hold.records:
                    record.lapses += record.lapses > 0
            return lost

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._leases = self._store.leases = LapseDoubled.Leases(seconds=self._leases.seconds)


class SentAsLost(MemoryQueue):
    async def claim(self, request: ClaimRequest) -> Claim:
        return with_items(await super().claim(request), sent_as=0)


class FairnessIgnored(MemoryQueue):
    """The lane that was there first is served first."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lanes.next_turn = self._oldest_lane  # type: ignore[method-assign]
        self._lanes.end_turn = lambda queue, amount: None  # type: ignore[method-assign]

    def _oldest_lane(self, providers: Iterable[str], now: float) -> LaneQueue | None:
        for queue in sorted(self._lanes.selected(Selector()), key=lambda queue: queue.number):
            if queue.lane.provider in providers and queue.is_open(now) and self._lanes.room(queue) > 0:
                return queue
        return None


class WeightIgnored(MemoryQueue):
    async def set_weight(self, lane: Lane, weight: float) -> None:
        await anyio.lowlevel.checkpoint()


class PriorityIgnored(MemoryQueue):
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        return await super().enqueue([item._replace(priority=0) for item in items], wait_until=wait_until)


class AgeIgnored(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**changed(options, priority_step=1e9))


class ScheduleIgnored(MemoryQueue):
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        return await super().enqueue([item._replace(not_before=None) for item in items], wait_until=wait_until)


class WishLost(MemoryQueue):
    """The wish to cancel what is leased is forgotten."""

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        leased = await self._leased(ids)
        answers = list(await super().cancel([name for name in ids if name not in leased]))
        return [CancelResult.REQUESTED if name in leased else answers.pop(0) for name in ids]

    async def _leased(self, ids: Sequence[str]) -> set[str]:
        found = await self.get(ids)
        return {one.id for one in found if one and one.state is OperationState.LEASED}


class ResultDroppedAtOnce(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**changed(options, result_capacity=0))


class ResultsKeptForEver(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**changed(options, result_capacity=1_000_000, result_seconds=inf))


class WakeUpLost(MemoryQueue):
    """Only who looks again on its own sees the change."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        bell = self._store.bell

        def ring() -> None:
            bell.marker += 1

        bell.ring = ring  # type: ignore[method-assign]


class MarkerIgnored(MemoryQueue):
    """A change between the claim and the wait is missed."""

    async def wait(self, marker: int, until: float | None) -> None:
        await super().wait(self._store.bell.marker, until)


class Polls(MemoryQueue):
    async def wait(self, marker: int, until: float | None) -> None:
        while marker == self._store.bell.marker and (until is None or self._clock.now() < until):  # noqa: ASYNC110
            await anyio.sleep(0.1)


class WakesForNothing(MemoryQueue):
    async def wait(self, marker: int, until: float | None) -> None:
        with anyio.move_on_after(3600):
            await super().wait(marker, until)


class NextInstantUnknown(MemoryQueue):
    async def claim(self, request: ClaimRequest) -> Claim:
        return evolve(await super().claim(request), next_at=None)


class EndNotReported(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._store.finishes.report = lambda record: None  # type: ignore[method-assign]


class DrainedTooEarly(MemoryQueue):
    async def drained(self, selector: Selector, until: float | None) -> bool:
        stats = await self.stats(selector)
        return not stats.available + stats.leased or await super().drained(selector, until)


class DeadLettersForgotten(MemoryQueue):
    def __init__(self, **options: Any) -> None:
        super().__init__(**changed(options, dead_letter_capacity=1_000_000_000))


class DeadLettersStopAll(MemoryQueue):
    """One bad lane stops every other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lanes.has_dead_letters = lambda lane: True  # type: ignore[method-assign]


class ReplayKeepsAttempts(MemoryQueue):
    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        before = {one.id: one for one in await self.get(ids) if one}
        answers = await super().replay(ids)
        for name, answer in zip(ids, answers, strict=True):
            record: Record | None = self._lanes.record(name)
            if answer and record is not None:
                record.attempts = before[name].attempts
        return answers


class BoundIgnored(MemoryQueue):
    async def claim(self, request: ClaimRequest) -> Claim:
        return await super().claim(evolve(request, lane_max={}))


class NeverLetsOthersRun(MemoryQueue):
    """A claim that is cancelled comes back as if nothing had happened."""

    async def claim(self, request: ClaimRequest) -> Claim:
        claims: list[Claim] = []
        with anyio.CancelScope(shield=True):
            claims.append(await super().claim(request))
        return claims[0]


class EntryIncomplete(MemoryQueue):
    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        return [found and evolve(found, due_at=None) for found in await super().get(ids)]


MUTANTS: tuple[type[MemoryQueue], ...] = (
    TokenIgnored,
    LossNotTold,
    LossToldInBulk,
    HeldByAnybody,
    LeaseNeverEnds,
    AttemptNotCounted,
    AlwaysSent,
    MarkKept,
    GivenBackCounted,
    RestIgnored,
    BodyShared,
    DuplicateEnqueuedTwice,
    OrderReversed,
    ReturnedToTheEnd,
    RacingClaim,
    ParkIgnored,
    NewLanesNotPaused,
    ResumeTooMuch,
    CapacityIgnored,
    LatecomersFirst,
    HalfEnqueue,
    LapseNotCounted,
    LapseDoubled,
    SentAsLost,
    FairnessIgnored,
    WeightIgnored,
    PriorityIgnored,
    AgeIgnored,
    ScheduleIgnored,
    WishLost,
    ResultDroppedAtOnce,
    ResultsKeptForEver,
    WakeUpLost,
    MarkerIgnored,
    Polls,
    WakesForNothing,
    NextInstantUnknown,
    EndNotReported,
    DrainedTooEarly,
    DeadLettersForgotten,
    DeadLettersStopAll,
    ReplayKeepsAttempts,
    BoundIgnored,
    NeverLetsOthersRun,
    EntryIncomplete,
)
