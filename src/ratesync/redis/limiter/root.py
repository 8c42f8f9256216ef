"""All quotas of one provider, as this process knows them. Nothing here waits: the pump does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import anyio
from attrs import define, field

from ratesync.errors import CostAboveLimit, LimiterError, PermitTimeout
from ratesync.model.feedback import NO_FEEDBACK
from ratesync.model.quota import Countable, Observation, Permit, Scope
from ratesync.redis.limiter.book import Book, check_costs
from ratesync.redis.limiter.bucket import Bucket, Report
from ratesync.redis.limiter.exchange import Membership
from ratesync.redis.limiter.lane import SLOT, Lane, Waiter
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.limiter.plan import may_pass
from ratesync.redis.limiter.question import Question
from ratesync.redis.server.clock import ServerClock
from ratesync.rules.hold import Holds, connection_of
from ratesync.rules.line import Line
from ratesync.rules.reading import match_cause, match_reading, may_be_meant

FLUSH = 0.02
"""Seconds after which what is returned is told, if no exchange comes before."""

BUSY_FLUSH = 0.25
"""The same while demand is high."""

PAUSE = 0.002
"""Least seconds between two questions for the same."""

SAFETY = 0.1
"""Share of the time until this process is taken for dead in which it uses no leased permits any more."""


@define(eq=False)
class QuotaRoot:
    """Grants from what is leased, and keeps account of what to report and to ask."""

    names: KeyNames
    member: Membership
    ids: count[int]
    clock: ServerClock = field(factory=ServerClock, init=False)
    book: Book = field(init=False)
    line: Line[Waiter] = field(factory=Line[Waiter], init=False)
    probes: list[Waiter] = field(factory=list[Waiter], init=False)
    questions: list[Question] = field(factory=list[Question], init=False)
    holds: Holds = field(factory=Holds, init=False)
    new_holds: dict[Scope, float] = field(factory=dict[Scope, float], init=False)
    granted: dict[int, tuple[Permit, Lane]] = field(factory=dict[int, tuple[Permit, Lane]], init=False)
    dirty: dict[Bucket, None] = field(factory=dict[Bucket, None], init=False)
    """Buckets to tell of with the next exchange."""
    report_at: float = field(default=math.inf, init=False)
    """When to tell of them, if no exchange comes before."""
    stocked: dict[Lane, None] = field(factory=dict[Lane, None], init=False)
    spare: dict[Bucket, None] = field(factory=dict[Bucket, None], init=False)
    """Buckets of calls of which this process may hold more than it uses."""
    deadlined: dict[Waiter, None] = field(factory=dict[Waiter, None], init=False)
    """Those who wait with a deadline."""
    unacked: dict[Bucket, Report] | None = field(default=None, init=False)
    asked_at: float = field(default=-math.inf, init=False)
    """When the last exchange that was answered had begun."""
    refreshed_at: float = field(default=0.0, init=False)
    hot_until: float = field(default=-math.inf, init=False)
    """Instant until which demand is thought to be high."""
    requests: int = field(default=0, init=False)
    """Requests made so far."""
    workers: int = field(default=0, init=False)
    round_trip: float = field(default=0.001, init=False)
    wake: anyio.Event = field(factory=anyio.Event, init=False)
    urgent: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.book = Book(self.names, self.clock)

    # What callers do

    def grant(self, lane: Lane, now: float) -> Permit | None:
        """A permit from what this process holds, if nobody comes first."""
        if lane.twin is not None and not lane.units and may_pass(lane) and lane.twin.lend(now):
            self.stocked[lane] = None  # who is privileged need not wait because what is ready was leased for others
        if lane.costs and (now > self.valid_until or not lane.may_take(now) or not may_pass(lane)):
            return None
        return self.take_for(lane, now)

    @property
    def lead(self) -> float:
        """Seconds before an instant at which the server has to be asked for what comes free then."""
        return 1.5 * self.round_trip + PAUSE

    @property
    def valid_until(self) -> float:
        """Instant until which leased permits are surely ours."""
        return self.asked_at + self.member.alive * (1 - SAFETY)

    def take_for(self, lane: Lane, now: float) -> Permit:
        """A permit of what this process holds."""
        if lane.costs and lane.take(now):
            self.hot_until = now + 2 * SLOT
        permit = Permit(next(self.ids), lane.demands, now)
        self.granted[permit.id] = (permit, lane)
        return permit

    def grant_anyway(self, lane: Lane, now: float) -> Permit:
        """A permit that was granted elsewhere: the server is told of it with the next exchange."""
        for bucket, cost in lane.costs:
            if bucket.kind != "penalty":
                bucket.out += cost
                bucket.in_use += cost
                self.touch(bucket, now)
        permit = Permit(next(self.ids), lane.demands, now)
        self.granted[permit.id] = (permit, lane)
        return permit

    def send_away(self) -> None:
        """Let all who wait go elsewhere."""
        for waiter in list(self.line.in_order()):
            waiter.is_sent_away = True
            self.leave(waiter)
            waiter.alarm.set()

    def line_up(self, waiter: Waiter) -> None:
        """Somebody waits."""
        self.line.add(waiter, 1)
        if waiter.deadline < math.inf:
            self.deadlined[waiter] = None
        waiter.lane.line.add(waiter, 1)
        for bucket, cost in waiter.lane.costs:
            bucket.line.add(waiter, cost)
        self.stir()

    def leave(self, waiter: Waiter) -> None:
        """Somebody no longer waits."""
        self.line.remove(waiter, 1)
        self.deadlined.pop(waiter, None)
        waiter.lane.line.remove(waiter, 1)
        for bucket, cost in waiter.lane.costs:
            bucket.line.remove(waiter, cost)
        self.stir()

    def stir(self) -> None:
        """Let the pump look."""
        self.wake.set()

    def refund(self, permit: Permit, now: float) -> None:
        """The call was not made."""
        lane = self._take_out(permit)
        for bucket, cost in lane.costs:
            bucket.refund(cost)
            self.touch(bucket, now)
            self.spare_at(bucket)
            for head in bucket.line.heads() if bucket.line else ():
                head.lane.asks_at = -math.inf
        self._serve_after(lane, now)
        self.stir()

    def settle(self, permit: Permit, observation: Observation, now: float) -> None:
        """The call ended."""
        lane = self._take_out(permit)
        feedback = observation.feedback
        for bucket, cost in lane.costs:
            charged = cost
            if feedback.charged and isinstance(bucket.quota, Countable):
                charged = max(0, feedback.charged.get(bucket.quota.unit, cost))
            bucket.settle(cost, charged, permit.granted_at, now, self.clock)
            self.spare_at(bucket)
            if bucket.is_urgent:
                self.urge(bucket, now)
            elif bucket.kind != "calls":
                self._note(bucket, now + max(bucket.patience, self._flush_after(bucket, now)))
        if feedback is not NO_FEEDBACK or observation.throttled:
            self._learn(lane, permit, observation, now)
        self._serve_after(lane, now)

    def _serve_after(self, lane: Lane, now: float) -> None:
        """Permits may be free that others wait for."""
        if self.line:
            self.serve([bucket for bucket, _ in lane.calls], now)
        for bucket, _ in lane.costs:
            if bucket.kind != "calls" or bucket.idle:
                bucket.freed = self.requests
                for head in bucket.line.heads() if bucket.line else ():
                    if head.lane.wait is None or head.lane.wait.free_at == math.inf:
                        self.stir()

    def _learn(self, lane: Lane, permit: Permit, observation: Observation, now: float) -> None:
        feedback = observation.feedback
        buckets = [bucket for bucket, _ in lane.costs]
        quotas = [bucket.quota for bucket in buckets]
        is_news = observation.throttled or observation.hold_for > 0
        for reading in feedback.readings:
            place = match_reading(reading, quotas)
            if place is not None:
                is_news = buckets[place].is_news(reading) or is_news
                buckets[place].learn(reading, permit.granted_at, now, self.clock)
        if observation.throttled:
            sure = match_cause(feedback.cause, quotas)
            for place, bucket in enumerate(buckets):
                if place == sure or may_be_meant(feedback.cause, bucket.quota):
                    bucket.refuse(permit.granted_at, now, self.clock, is_sure=place == sure)
        if observation.hold_for > 0:
            self._hold(buckets, now + observation.hold_for, now)
        if not is_news:
            return
        self.urgent = True
        for bucket in buckets:
            bucket.freed = self.requests
            for head in bucket.line.heads() if bucket.line else ():
                head.lane.asks_at = -math.inf
        self.give_up_late(now)
        self.stir()

    def _hold(self, buckets: Sequence[Bucket], until: float, now: float) -> None:
        """Leave the connections of these alone, and let all workers know."""
        for bucket in buckets:
            connection = connection_of(bucket.scope)
            if connection is not None:
                self.new_holds[connection] = max(self.new_holds.get(connection, 0.0), until)
                self.holds.hold(connection, until, now)
        for bucket in self.book.buckets.values():
            bucket.closed_until = max(bucket.closed_until, self.holds.free_at(bucket.scope, -math.inf))

    def spare_at(self, bucket: Bucket) -> None:
        """A call ended whose permits stay here: return them if they are not wanted."""
        if bucket.kind == "calls" and (bucket not in self.spare or bucket.fair is not None):
            self.spare[bucket] = None
            self.stir()

    def urge(self, bucket: Bucket, now: float) -> None:
        """Tell of a bucket now."""
        self._note(bucket, now)
        self.urgent = True
        self.stir()

    def touch(self, bucket: Bucket, now: float) -> None:
        """Tell of a bucket with the next exchange, and soon."""
        self._note(bucket, now + (FLUSH if bucket.fair is not None else self._flush_after(bucket, now)))

    @property
    def is_busy(self) -> bool:
        """Whether permits are held or waited for."""
        return bool(self.granted or self.spare or self.line)

    @property
    def may_hear(self) -> bool:
        """Whether others may want what this process can return, or hold what it waits for."""
        return bool(self.spare or (self.line and self.workers > 1))

    def hear(self, key: str, now: float) -> None:
        """The bell of a bucket rang."""
        bucket = self.book.by_key.get(key)
        if bucket is not None:
            bucket.hear()
            self.urge(bucket, now)

    def _flush_after(self, bucket: Bucket, now: float) -> float:
        # Where permits are leased in blocks, the next lease tells of what ended too.
        return FLUSH if now >= self.hot_until else min(BUSY_FLUSH, bucket.span / 4 or BUSY_FLUSH)

    def _note(self, bucket: Bucket, report_at: float) -> None:
        self.dirty[bucket] = None
        if report_at < self.report_at:
            self.report_at = report_at
            self.stir()

    def _take_out(self, permit: Permit) -> Lane:
        granted, lane = self.granted.get(permit.id, (None, None))
        if granted is not permit or lane is None:
            raise LimiterError(
                f"Permit {permit.id} is not in use here. End each permit once, at the limiter that granted it."
            )
        del self.granted[permit.id]
        return lane

    # What the pump does

    def serve(self, buckets: Sequence[Bucket], now: float) -> None:
        """Grant to those next in line for these buckets while all is there that they want."""
        if now > self.valid_until:
            return
        changed = [bucket for bucket in buckets if bucket.line]
        while changed:
            bucket = changed.pop()
            while bucket.line and (waiter := self._serve_one(bucket, now)) is not None:
                changed += [other for other, _ in waiter.lane.calls if other is not bucket and other.line]

    def _serve_one(self, bucket: Bucket, now: float) -> Waiter | None:
        heads: list[Waiter] = bucket.line.heads()
        return next((head for head in heads if self._serve_head(head, now)), None)

    def _serve_head(self, waiter: Waiter, now: float) -> bool:
        lane = waiter.lane
        if not lane.may_take(now) or not all(self._is_next(waiter, bucket) for bucket, _ in lane.calls):
            return False
        waiter.permit = self.take_for(lane, now)
        self.leave(waiter)
        waiter.alarm.set()
        return True

    @staticmethod
    def _is_next(waiter: Waiter, bucket: Bucket) -> bool:
        first, *rest = bucket.line.heads()
        return first is waiter or (waiter in rest and first.lane.is_reserved)

    def serve_stock(self, now: float) -> float:
        """Grant what is ready; returns when the next unit will be."""
        next_at = math.inf
        if now > self.valid_until:
            return next_at
        for lane in list(self.stocked):
            while lane.hand_over(now) and lane.twin is not None:
                self.stocked[lane.twin] = None
                self._serve_head(lane.twin.line.heads()[0], now)
            while lane.line and lane.may_take(now) and self._serve_head(lane.line.heads()[0], now):
                pass
            if (lane.line or (lane.twin is not None and lane.twin.line)) and lane.stock:
                ready = max(lane.stock[0][0], lane.closed_until())
                if ready > now:
                    next_at = min(next_at, ready)
        return next_at

    def return_leased(self, bucket: Bucket, now: float) -> None:
        """Return what is leased of a bucket, as there is less than was thought."""
        for lane in list(self.stocked):
            if lane.units and any(other is bucket for other, _ in lane.flow):
                lane.drop(lane.units)
                for other, _ in lane.flow:
                    self.touch(other, now)

    def trim(self, now: float, *, all_of_it: bool = False) -> None:
        """Return what is leased and not wanted."""
        for lane in list(self.stocked):
            keep = 0 if all_of_it else max(len(lane.line), lane.demand(now))
            if now > self.valid_until or self._comes_later(lane):
                keep = 0
            if lane.units > keep:
                lane.drop(lane.units - keep)
                for bucket, _ in lane.flow:
                    self.touch(bucket, now)
            if not lane.units:
                self.stocked.pop(lane, None)
        for bucket in list(self.spare):
            excess = bucket.idle - (0 if all_of_it else bucket.wanted_soon(now))
            if excess > 0:
                bucket.out -= excess
                bucket.fresh = min(bucket.fresh, bucket.idle)
                self.touch(bucket, now)
                self.urgent = self.urgent or bucket.fair is not None  # somebody else waits for it
            if not bucket.idle:
                del self.spare[bucket]

    def _comes_later(self, lane: Lane) -> bool:
        """Whether somebody of a higher priority comes first who waits for the same with other demands."""
        if lane.is_privileged or not self.line or self.line.heads()[-1].priority <= 0:
            return False
        place = lane.line.heads()[0].place if lane.line else (math.inf, 0)
        return any(
            head.priority > 0 and head.lane is not lane.twin and head.place < place
            for bucket, _ in lane.flow
            if bucket.line
            for head in bucket.line.heads()
        )

    def give_up_late(self, now: float) -> None:
        """Tell those whose deadline is sure to pass."""
        for waiter in list(self.deadlined):
            lane = waiter.lane
            earliest = max(lane.closed_until(), -math.inf if lane.wait is None else lane.wait.earliest_at)
            if earliest > waiter.deadline:
                self.give_up(waiter, too_late(lane, now))

    def give_up(self, waiter: Waiter, error: Exception) -> None:
        """Somebody waits in vain."""
        waiter.error = error
        self.leave(waiter)
        waiter.alarm.set()

    def refuse_high_costs(self, lane: Lane) -> None:
        """Tell those who want more than the provider allows, as it has told."""
        for waiter in list(lane.line.in_order()):
            try:
                check_costs(lane, waiter.priority)
            except CostAboveLimit as error:
                self.give_up(waiter, error)


def too_late(lane: Lane, now: float) -> PermitTimeout:
    """The error for permits that do not come before the deadline."""
    free_at = max(now, lane.closed_until(), -math.inf if lane.wait is None else lane.wait.free_at)
    wait = None if free_at == math.inf else free_at - now
    known = "that depends on calls under way" if wait is None else f"they are free in {wait:.3f} s at the earliest"
    scopes = ", ".join(str(bucket.scope) for bucket, _ in lane.costs)
    return PermitTimeout(f"{scopes}: no permits before the deadline; {known}.", retry_after=wait)
