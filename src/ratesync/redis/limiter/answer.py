"""What the server's answers change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ratesync.errors import CostAboveLimit
from ratesync.model.quota import QuotaState, Refusal
from ratesync.redis.limiter.book import check_costs
from ratesync.redis.limiter.bucket import Bucket
from ratesync.redis.limiter.exchange import GONE, LOST, NEVER, OK, Request
from ratesync.redis.limiter.lane import Lane, Wait, Waiter
from ratesync.redis.limiter.plan import Want
from ratesync.redis.limiter.question import Question
from ratesync.redis.limiter.root import PAUSE, QuotaRoot

POLL = 0.05
"""Seconds between two questions for permits that other workers hold, at first: who is told that they are wanted returns
them soon. The pause doubles, up to what others take to report the end of a call."""

ALONE_POLL = 0.1
"""Seconds between two questions while somebody's call goes alone."""

MOST_POLL = 0.25
"""The longest such pause, where the end of a call is reported at once."""


class Answer:
    """The answer to a request."""

    def __init__(self, root: QuotaRoot, request: Request, reply: Mapping[str, Any]) -> None:
        self._root = root
        self._request = request
        self._reply = reply
        self._number = root.requests
        self._told: dict[Bucket, Sequence[float]] = {}

    def apply(self, sent_at: float, received_at: float) -> bool:
        """Change all that the answer changes; False if nothing was done and the request must be made anew."""
        root = self._root
        if root.clock.see(sent_at, received_at, self._reply["now"]):
            root.trim(received_at, all_of_it=True)  # when that would have been ready, nobody knows any more
        root.round_trip = received_at - sent_at
        if self._reply["status"] != OK:
            self._rejoin(received_at)
            return False
        member = root.member
        member.epoch, member.acked, member.joins = self._reply["epoch"], member.seq, 0
        root.asked_at = member.sent_at = sent_at
        root.workers = self._reply["workers"]
        self._acknowledge(received_at)
        self._adopt(received_at)
        answers: list[Any] = self._reply["wants"] or list[Any]()
        for want, answer in zip(self._request.wants, answers, strict=True):
            self._take(want, answer, received_at)
        for want in self._request.wants:
            if want.probe is not None:
                self._answer_probe(want, want.probe, received_at)
        root.serve_stock(received_at)
        root.serve([bucket for bucket in self._request.buckets if bucket.kind == "calls"], received_at)
        root.give_up_late(received_at)
        for lane in {want.lane for want in self._request.wants}:
            root.refuse_high_costs(lane)
        return True

    def _acknowledge(self, now: float) -> None:
        root = self._root
        for bucket, report in (root.unacked or {}).items():
            for index, cost in report.log.items():
                bucket.mirror[index] = bucket.mirror.get(index, 0) + cost
            bucket.forget(root.clock, now)
            if bucket.report is not None:
                root.touch(bucket, now)
        root.unacked = None
        for scope, until in self._request.holds.items():
            if root.new_holds.get(scope) == until:
                del root.new_holds[scope]
        for scope in [scope for scope, until in root.new_holds.items() if until <= now]:
            del root.new_holds[scope]

    def _adopt(self, now: float) -> None:
        for place, bucket in enumerate(self._request.buckets):
            state = self._reply["buckets"][place]
            self._told[bucket] = state
            granted = int(state[0]) - self._request.own[bucket]
            bucket.out += granted
            bucket.fresh += granted
            bucket.adopt(state, self._root.clock, now)
            bucket.closed_until = max(bucket.closed_until, self._root.holds.free_at(bucket.scope, -math.inf))
            if bucket.kind == "calls" and bucket.idle:
                self._root.spare[bucket] = None
            if bucket.is_cut:
                self._root.return_leased(bucket, now)
                bucket.count_returned()
            if bucket.is_changed:
                for head in bucket.line.heads() if bucket.line else ():
                    head.lane.asks_at = -math.inf
            if bucket.is_urgent:
                self._root.urge(bucket, now)

    def _take(self, want: Want, answer: Sequence[Any], now: float) -> None:
        root, lane = self._root, want.lane
        for at, units in answer[0] or ():
            want.given += int(units)
            if want.is_stock and lane.flow:
                lane.add(self._instant(at), int(units))
                root.stocked[lane] = None
        wait = self._wait(want, answer) if len(answer) > 1 else None
        if want.is_share and want.given == want.units:
            lane.wait, lane.polls, lane.asked = None, 0, self._number
            lane.asks_at = self._after_share(lane, wait, now)
            return
        if wait is not None and want.units and wait.free_at > now:
            wait.bucket.consider(dict(want.costs)[wait.bucket], wait.free_at, now, root.clock)
            if wait.bucket.is_urgent:
                root.urge(wait.bucket, now)
        if want.probe is not None:
            want.probe.wait = wait
        if want.question is not None:
            self._describe(want.question, lane, wait, now)
        lane.wait = wait
        if want.probe is not None or (want.asks and not want.units):
            return
        lane.asked = self._number
        self._ask_again(want, lane, wait, now)

    def _ask_again(self, want: Want, lane: Lane, wait: Wait | None, now: float) -> None:
        """When it makes sense to ask for this lane again."""
        root = self._root
        lane.asks_at = -math.inf
        if wait is None:
            lane.polls = 0
        elif wait.bucket.is_urgent:
            lane.asks_at = now
        elif wait.bucket.is_alone:
            lane.asks_at = now + ALONE_POLL
        elif wait.free_at < math.inf:
            lane.polls = 0
            lane.asks_at = max(now + PAUSE, min(wait.free_at - root.lead, wait.bucket.tries_at(root.clock)))
        elif any(bucket.others_out or bucket.fair is not None for bucket, _ in lane.costs):
            lane.asks_at = now + min(max(wait.bucket.patience, MOST_POLL), POLL * 2**lane.polls)
            lane.polls = min(lane.polls + 1, 10)
        else:
            lane.asks_at = math.inf

    def _after_share(self, lane: Lane, wait: Wait | None, now: float) -> float:
        """When to ask for more than this worker's share, ``wait`` being for the next one.

        Where that depends on what others hold, when they can have reported calls, too.
        """
        if wait is not None and wait.free_at <= now:
            return -math.inf
        pause = math.inf
        for bucket, _ in lane.flow:
            if bucket.kind == "window" and now - bucket.others_at < bucket.span:
                pause = min(pause, bucket.span / self._root.workers)
        if pause == math.inf or not lane.stock:
            return -math.inf
        return max(now, lane.stock[-1][0]) + pause

    def _wait(self, want: Want, answer: Sequence[Any]) -> Wait:
        _, place, free_at, earliest_at, is_reserved = answer
        return Wait(
            want.costs[max(0, int(place) - 1)][0],
            self._instant(free_at),
            self._instant(earliest_at),
            bool(is_reserved),
        )

    def _instant(self, told: float) -> float:
        """Ours for one of the server's. What had come when it answered is past, however instants are rounded."""
        if told <= self._reply["now"]:
            return -math.inf
        return self._root.clock.surely_past(told) if told < NEVER else math.inf

    def _answer_probe(self, want: Want, probe: Waiter, now: float) -> None:
        """Grant or refuse to who asks in ``reserve``."""
        root, lane = self._root, want.lane
        if probe not in root.probes:
            return  # gave up meanwhile
        root.probes.remove(probe)
        probe.alarm.set()
        if want.given and lane.may_take(now):
            probe.permit = root.take_for(lane, now)
            return
        try:
            check_costs(lane, probe.priority)
        except CostAboveLimit as error:
            probe.error = error

    def _describe(self, question: Question, lane: Lane, wait: Wait | None, now: float) -> None:
        """How a quota stands, for who asks in ``snapshot``."""
        bucket = lane.costs[0][0]
        used = int(self._told[bucket][1]) - bucket.idle
        question.states.append(
            QuotaState(
                question.demands[len(question.states)],
                max(0, used),
                int(bucket.most) if bucket.most < math.inf else None,
                None if wait is None or wait.free_at == math.inf else max(now, wait.free_at),
                bucket.closed_until if bucket.closed_until > now else None,
                len(bucket.line),
            )
        )
        if len(question.states) == len(question.lanes) and question in self._root.questions:
            self._root.questions.remove(question)
            question.alarm.set()

    def _rejoin(self, now: float) -> None:
        """The server does not know what it should: tell it all again."""
        root, status = self._root, self._reply["status"]
        if status not in {LOST, GONE}:
            return
        root.member.joins = 2 if status == LOST else max(1, root.member.joins)
        root.trim(now, all_of_it=True)
        for bucket in root.book.buckets.values():
            if status == LOST and bucket.mirror:
                log = bucket.reporting().log
                for index, cost in bucket.mirror.items():
                    log[index] = log.get(index, 0) + cost
                bucket.mirror = {}
            if bucket.out or bucket.report:
                root.touch(bucket, now)


def refusal(lane: Lane, wait: Wait | None, now: float) -> Refusal:
    """Why there was no permit at once."""
    if wait is None:
        return Refusal(lane.demands[0], None, is_elsewhere=True)
    place = next(
        place
        for place, demand in enumerate(lane.demands)
        if (demand.scope, demand.quota) == (wait.bucket.scope, wait.bucket.quota)
    )
    retry_after = wait.free_at - now if now < wait.free_at < math.inf else None
    bucket = wait.bucket
    # Where no call is under way here, none that ends will tell of permits.
    is_elsewhere = bucket.others_out or bucket.fair is not None or not bucket.in_use
    return Refusal(lane.demands[place], retry_after, wait.is_reserved, is_elsewhere)
