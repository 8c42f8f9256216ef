"""A queue as simple as it can be written: lists, searched from end to end. It says what a real one must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import Factory, define

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
    QueueStats,
    Settlement,
)
from ratesync.rules.lifecycle import FINAL, Move, move
from ratesync.rules.priority import score

S = OperationState
Place = tuple[Lane, str]


@define(eq=False)
class Operation:
    """Everything about an operation."""

    item: Item
    enqueued_at: float
    rank: tuple[float, int]
    state: OperationState | None = None
    attempts: int = 0
    lapses: int = 0
    sent_as: int = 0
    at: float | None = None
    result: bytes | None = None
    wish: bool = False

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def place(self) -> Place:
        return self.item.lane, self.item.key

    def go(self, step: Move) -> None:
        self.state = move(self.state, step)

    def entry(self) -> Entry:
        assert self.state is not None
        is_finished = self.state in FINAL
        return Entry(
            id=self.id,
            lane=self.item.lane,
            key=self.item.key,
            state=self.state,
            attempts=self.attempts,
            enqueued_at=self.enqueued_at,
            due_at=None if is_finished else self.at,
            finished_at=self.at if is_finished else None,
            body=None if self.state in {S.COMPLETED, S.CANCELLED} else self.item.body,
            result=self.result,
        )

    def leased(self) -> LeasedItem:
        return LeasedItem(self.id, self.item.body, self.attempts, self.sent_as, self.lapses, self.enqueued_at)


@define(eq=False)
class Holding:
    """A lease in force."""

    worker: str
    token: int
    operations: list[Operation]


@define(eq=False)
class QueueModel:
    """Each method does what the queue did with the same arguments, and checks or returns what it must answer."""

    capacity: int
    dead_letter_capacity: int
    result_capacity: int
    lease_seconds: float
    mailbox_max: int
    priority_step: float
    now: float = 0.0
    known: dict[str, Operation] = Factory(dict[str, Operation])
    queued: dict[Place, list[Operation]] = Factory(dict[Place, list[Operation]])
    held: dict[Place, Holding] = Factory(dict[Place, Holding])
    rests: dict[Place, float] = Factory(dict[Place, float])
    parks: dict[Lane, float] = Factory(dict[Lane, float])
    pauses: list[Selector] = Factory(list[Selector])
    alive: dict[str, float] = Factory(dict[str, float])
    finished: list[Operation] = Factory(list[Operation])
    dead: list[Operation] = Factory(list[Operation])
    accepted: int = 0
    ended: int = 0
    discarded: int = 0
    newest_token: int = 0
    numbers: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # What time does

    def catch_up(self) -> None:
        """Let in what is due."""
        due = [one for one in self.known.values() if one.state is S.SCHEDULED and one.at is not None]
        for one in sorted(due, key=lambda one: (one.at, one.rank[1])):
            if one.at is not None and one.at <= self.now:
                one.at = None
                one.go(Move.DUE)
                self.enter(one)
        self.rests = {place: until for place, until in self.rests.items() if until > self.now and place in self.queued}

    def enter(self, one: Operation) -> None:
        one.rank = (one.rank[0], self.number())
        self.queued.setdefault(one.place, []).append(one)

    # What comes in

    def duplicate_of(self, item: Item) -> str | None:
        if item.id in self.known:
            return item.id
        same = (one.id for one in self.known.values() if (one.item.lane, one.item.dedupe) == (item.lane, item.dedupe))
        return None if item.dedupe is None else next(same, None)

    def new(self, items: Sequence[Item]) -> list[Item]:
        seen: list[Item] = []
        for item in items:
            is_repeated = any(
                item.id == other.id or (item.dedupe and (item.lane, item.dedupe) == (other.lane, other.dedupe))
                for other in seen
            )
            if not is_repeated and self.duplicate_of(item) is None:
                seen.append(item)
        return seen

    def has_room(self, items: Sequence[Item]) -> bool:
        new = self.new(items)
        return not new or self.pending + len(new) <= self.capacity

    def is_stopped(self, items: Sequence[Item]) -> bool:
        """There are too many dead letters, and some of them are of the lanes that are to have more work."""
        lanes = {one.item.lane for one in self.dead}
        return len(self.dead) >= self.dead_letter_capacity and any(item.lane in lanes for item in self.new(items))

    @property
    def pending(self) -> int:
        return sum(one.state not in FINAL for one in self.known.values())

    def enqueue(self, items: Sequence[Item]) -> list[Enqueued]:
        answers: list[Enqueued] = []
        for item in items:
            earlier = self.duplicate_of(item)
            answers.append(Enqueued(earlier or item.id, earlier is not None))
            if earlier is None:
                self.accept(item)
        return answers

    def accept(self, item: Item) -> None:
        self.accepted += 1
        starts_at = max(self.now, item.not_before or 0.0)
        rank = score(starts_at, item.priority, self.priority_step), self.number()
        one = self.known[item.id] = Operation(item, self.now, rank)
        if starts_at > self.now:
            one.go(Move.SCHEDULE)
            one.at = starts_at
        else:
            one.go(Move.ENQUEUE)
            self.enter(one)

    # What goes out

    def is_closed(self, lane: Lane) -> bool:
        return self.parks.get(lane, 0.0) > self.now or self.is_paused(lane)

    def is_paused(self, lane: Lane) -> bool:
        return any(pause.matches(lane) for pause in self.pauses)

    def claimable(self, lane: Lane) -> list[Place]:
        """The ready mailboxes of a lane in the order in which they are claimed."""
        places = [place for place in self.queued if place[0] == lane]
        ready = [place for place in places if place not in self.held and place not in self.rests]
        return [] if self.is_closed(lane) else sorted(ready, key=self.rank)

    def rank(self, place: Place) -> tuple[float, int]:
        return min(one.rank for one in self.queued[place])

    def lapse(self) -> None:
        for place, holding in list(self.held.items()):
            if self.alive[holding.worker] + self.lease_seconds <= self.now:
                for one in holding.operations:
                    one.go(Move.LAPSE)
                    one.lapses += 1
                    one.sent_as = one.sent_as or holding.token
                self.give_back(place)

    def give_back(self, place: Place) -> None:
        holding = self.held.pop(place)
        for one in list(holding.operations):
            if one.wish and one.state not in FINAL:
                self.end(one, Move.CANCEL, None)
        back = [one for one in holding.operations if one.state not in FINAL]
        queued = back + self.queued.get(place, [])
        self.queued.pop(place, None)
        if queued:
            self.queued[place] = queued
        for one in holding.operations:
            one.wish = False

    def check_claim(self, request: ClaimRequest, claimed: Claim) -> None:
        self.lapse()
        self.alive[request.worker] = self.now
        for batch in claimed.batches:
            lane = batch[0].lane
            expected = self.claimable(lane)[: min(request.sizes[lane.provider], self.room(lane, request))]
            assert [(lease.lane, lease.key) for lease in batch] == expected
            for lease in batch:
                self.check_lease(request.worker, lease)
        lanes = {lane for lane, _ in self.queued if lane.provider in request.sizes}
        assert len(claimed.batches) <= request.calls
        if len(claimed.batches) < request.calls:
            assert [lane for lane in lanes if self.claimable(lane) and self.room(lane, request)] == []
        assert claimed.next_at == min(self.instants(request), default=None)

    def room(self, lane: Lane, request: ClaimRequest) -> int:
        """How many more mailboxes of the lane may be leased."""
        held = sum(place[0] == lane for place in self.held)
        return max(0, request.lane_max.get(lane.provider, 1000) - held)

    def check_lease(self, worker: str, lease: Lease) -> None:
        place = lease.lane, lease.key
        queued = self.queued.pop(place)
        taken, left = queued[: self.mailbox_max], queued[self.mailbox_max :]
        if left:
            self.queued[place] = left
        assert list(lease.items) == [one.leased() for one in taken]
        assert lease.token > self.newest_token
        self.newest_token = lease.token
        for one in taken:
            one.go(Move.CLAIM)
            one.at = None
        self.held[place] = Holding(worker, lease.token, taken)

    def instants(self, request: ClaimRequest) -> Iterator[float]:
        """When something will be claimable by itself."""
        for one in self.known.values():
            lane = one.item.lane
            if lane.provider not in request.sizes or self.is_paused(lane):
                continue
            opens_at = max(self.now, self.parks.get(lane, 0.0))
            if one.state is S.SCHEDULED and one.at is not None:
                yield max(opens_at, one.at)
            elif one.place in self.queued and one.place not in self.held:
                claimable_at = max(opens_at, self.rests.get(one.place, 0.0))
                if claimable_at > self.now or self.room(lane, request):
                    yield claimable_at
        for (lane, _), holding in self.held.items():
            if lane.provider in request.sizes and holding.worker != request.worker:
                yield self.alive[holding.worker] + self.lease_seconds

    # What becomes of it

    def settle(self, worker: str, settlement: Settlement) -> bool:
        place = settlement.lease.lane, settlement.lease.key
        holding = self.held.get(place)
        if holding is None or (holding.worker, holding.token) != (worker, settlement.lease.token):
            return False
        ends = {end.id: end for end in settlement.finished}
        for one in holding.operations:
            if one.id in ends:
                steps = {S.COMPLETED: Move.COMPLETE, S.DEAD: Move.DIE, S.CANCELLED: Move.CANCEL}
                self.end(one, steps[ends[one.id].state], ends[one.id].result)
            elif one.id in settlement.attempted:
                one.go(Move.RETRY)
                one.attempts += settlement.counted
                if settlement.sent:
                    one.sent_as = one.sent_as or holding.token
                one.at = settlement.resume_at
            else:
                one.go(Move.RELEASE)
                if one.id in settlement.unsent:
                    one.sent_as = 0
        self.give_back(place)
        if place in self.queued and settlement.resume_at is not None and settlement.resume_at > self.now:
            self.rests[place] = settlement.resume_at
        return True

    def end(self, one: Operation, step: Move, result: bytes | None) -> None:
        one.go(step)
        one.at = self.now
        one.result = result
        if one.state is S.DEAD:
            self.dead.append(one)
            return
        self.ended += 1
        self.finished.append(one)
        if len(self.finished) > self.result_capacity:
            del self.known[self.finished.pop(0).id]

    def cancel(self, name: str) -> CancelResult:
        one = self.known.get(name)
        if one is None:
            return CancelResult.UNKNOWN
        if one.state in FINAL:
            return CancelResult.FINISHED
        if one.state is S.LEASED:
            one.wish = True
            return CancelResult.REQUESTED
        if one.state is not S.SCHEDULED:
            self.queued[one.place].remove(one)
            if not self.queued[one.place]:
                del self.queued[one.place]
                self.rests.pop(one.place, None)
        self.end(one, Move.CANCEL, None)
        return CancelResult.CANCELLED

    def replay(self, name: str) -> bool:
        one = self.known.get(name)
        if one is None or one.state is not S.DEAD:
            return False
        self.dead.remove(one)
        one.go(Move.REPLAY)
        one.attempts = one.lapses = one.sent_as = 0
        one.at = one.result = None
        one.rank = score(self.now, one.item.priority, self.priority_step), 0
        self.enter(one)
        return True

    def discard(self, name: str) -> bool:
        one = self.known.get(name)
        if one is None or one.state is not S.DEAD:
            return False
        one.go(Move.DISCARD)
        self.dead.remove(one)
        del self.known[name]
        self.discarded += 1
        return True

    def resume(self, selector: Selector) -> None:
        lanes = [Lane(provider, connection) for provider in ("p", "q", "other") for connection in ("a", "b", "other")]
        self.pauses = [
            pause for pause in self.pauses if not all(selector.matches(lane) for lane in lanes if pause.matches(lane))
        ]

    def stats(self, selector: Selector) -> QueueStats:
        states = [one.state for one in self.known.values() if selector.matches(one.item.lane)]
        return QueueStats(
            scheduled=states.count(S.SCHEDULED),
            available=states.count(S.AVAILABLE),
            leased=states.count(S.LEASED),
            retryable=states.count(S.RETRYABLE),
            dead=states.count(S.DEAD),
        )
