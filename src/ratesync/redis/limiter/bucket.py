"""What a process knows of one quota at one scope: the permits that it holds, and what it has to report."""

from __future__ import annotations

import math
from typing import Any

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.model.quota import Countable, LeakyBucket, Quota, Scope
from ratesync.redis.server.clock import ServerClock
from ratesync.rules.line import Line

GRAINS = 1_000
"""Grains of time in a window: calls that end in the same one come free together, so at most a thousandth late."""

LIFE = 60.0
"""Least seconds for which the server keeps a bucket after its last use."""


@define(eq=False)
class Report:
    """What happened to a bucket since the last report."""

    log: dict[int, int] = field(factory=dict[int, int])
    """Permits of ended calls, by the grain in which they come free."""
    charged: int = 0
    """Permits of ended calls that come back at the bucket's own pace."""
    readings: list[dict[str, float]] = field(factory=list[dict[str, float]])
    """Of calls granted later than those of others."""
    refused: int = 0
    """1: a call was refused; 2: surely because of this quota."""
    refused_at: float = 0.0
    accepted: int = 0
    """Permits of ended calls that were not refused, where the limit is measured."""
    tried: int = 0
    """1: the call ended, or was not made, that went alone."""

    def wire(self, idle: int) -> dict[str, Any]:
        """As the script takes it."""
        return {
            "log": list(self.log.items()),
            "charged": self.charged,
            "readings": self.readings,
            "refused": self.refused,
            "refused_at": self.refused_at,
            "accepted": self.accepted,
            "tried": self.tried,
            "idle": idle,
        }


@define(eq=False)
class Bucket:
    """One quota at one scope. This kind has permits that are held while a call is under way, and no memory."""

    scope: Scope
    quota: Quota
    key: str
    span: float = 0.0
    """Seconds for which an ended call counts."""
    out: int = field(default=0, init=False)
    """Permits that this process holds, as far as the server shall know."""
    in_use: int = field(default=0, init=False)
    """Those of calls under way."""
    unreported: int = field(default=0, init=False)
    """Permits of ended calls that are part of ``report``: the server shall count them as held until then."""
    used: float = field(default=0, init=False)
    """Permits in use, as the server told last."""
    own: float = field(default=0, init=False)
    """Those of them that this process held."""
    is_doubtful: bool = field(default=True, init=False)
    """It is not known what was used before."""
    has_others: bool = field(default=False, init=False)
    """Whether others than these workers are known to use some."""
    others_out: bool = field(default=False, init=False)
    """Whether other processes hold some."""
    others_at: float = field(default=-math.inf, init=False)
    """When others were last known to hold some."""
    fair: int | None = field(default=None, init=False)
    """Most permits that this process should hold, as others want some; None for any number."""
    fresh: int = field(default=0, init=False)
    """Permits that the server granted beyond that for those who wait here: each is for one call."""
    most: float = field(default=math.inf, init=False)
    """The limit now, as far as it is known."""
    closed_until: float = field(default=-math.inf, init=False)
    """Instant of ours until which nothing is granted."""
    report: Report | None = field(default=None, init=False)
    mirror: dict[int, int] = field(factory=dict[int, int], init=False)
    """What was reported and still counts, should the server lose it."""
    line: Line[Any] = field(factory=Line[Any], init=False)
    """Those who wait for it: :class:`ratesync.redis.limiter.lane.Waiter`, which knows this class."""
    peak: int = field(default=0, init=False)
    """Most permits in use while demand is high."""
    hot_until: float = field(default=-math.inf, init=False)
    """Instant until which demand is thought to be high."""
    freed: int = field(default=0, init=False)
    """Number of the last request before permits came free here that only this process knows of."""
    lanes: int = field(default=0, init=False)
    """Lanes that take from it."""

    is_cut: bool = field(default=False, init=False)
    """What was leased before is to be returned, as there is less than was thought."""
    is_changed: bool = field(default=False, init=False)
    """There may be more than those know who wait."""
    is_heard: bool = field(default=False, init=False)
    """Its bell rang: somebody wants some, or some came free. The next exchange tells what there is."""

    kind = "calls"
    grain = 1.0

    def __attrs_post_init__(self) -> None:
        if isinstance(self.quota, Countable):
            self.most = self.quota.permits

    @property
    def patience(self) -> float:
        """Seconds for which nobody else needs to know of ended calls."""
        return 0.0

    @property
    def horizon(self) -> float:
        """Seconds ahead for which permits may be leased."""
        return math.inf

    @property
    def is_urgent(self) -> bool:
        """Whether the server has to be told of something at once."""
        return False

    @property
    def is_alone(self) -> bool:
        """Whether calls go one at a time, over all workers, as the limit is measured."""
        return False

    @property
    def kept(self) -> int:
        """Permits that are kept for higher priorities."""
        return self.quota.kept if isinstance(self.quota, Countable) else 0

    @property
    def idle(self) -> int:
        """Permits that this process holds for nothing yet."""
        return self.out - self.in_use

    def wanted_soon(self, now: float) -> int:
        """Idle permits that are worth keeping."""
        if now > self.hot_until:
            self.peak = self.in_use
        if self.fair is None:
            return self.line.wanted + self.peak - self.in_use
        # Others wait: what nobody here can use now, or is more than our part, is theirs.
        if not self.line:
            return 0
        kept = min(self.line.wanted, max(self.fresh, self.fair - self.in_use))
        needed = min(cost for head in self.line.heads() for bucket, cost in head.lane.calls if bucket is self)
        return kept if kept >= needed else 0

    def most_for(self, priority: int) -> float:
        """The greatest cost that is ever granted to a priority, as things stand."""
        return self.most - (0 if priority > 0 else self.kept)

    def spec(self, clock: ServerClock, now: float) -> dict[str, Any]:
        """The quota as the script takes it."""
        return {
            "kind": self.kind,
            "permits": self.quota.permits if isinstance(self.quota, Countable) else 0,
            "span": self.span,
            "grain": self.grain,
            "restore": self.quota.restore if isinstance(self.quota, LeakyBucket) else 0,
            "kept": self.kept,
            "ends": self.ends(clock, now),
            "ttl": LIFE + 2 * self.span,
            "rtt": self.round_trip(),
            "own": self.out + self.unreported,
        }

    def ends(self, clock: ServerClock, now: float) -> float:
        """The server's instant at which the window that is on has surely ended; 0 for none."""
        return 0

    def round_trip(self) -> float:
        """The shortest round trip so far; -1 if none is known."""
        return -1

    def reporting(self) -> Report:
        """The report to add to."""
        if self.report is None:
            self.report = Report()
        return self.report

    def take_report(self) -> Report | None:
        """What is to be reported now."""
        report, self.report, self.unreported = self.report, None, 0
        return report

    def hear(self) -> None:
        """Its bell rang."""
        self.is_heard = True
        for head in self.line.heads() if self.line else ():
            head.lane.asks_at = -math.inf

    def may_use_idle(self, cost: int, *, is_privileged: bool) -> bool:
        """Whether a call may have permits that this process holds idle: some of them may be kept from it."""
        if self.idle < cost:
            return False
        if self.fair is not None and cost > max(self.fresh, self.fair - self.in_use):
            return False
        return is_privileged or not self.kept or self.used - self.own + self.in_use + cost <= self.most - self.kept

    def note_cost(self, cost: int) -> None:
        """A call is asked for that takes so much."""

    def give_up(self, cost: int) -> None:
        """Permits are returned that were leased and not used."""

    def count_returned(self) -> None:
        """All was returned that was leased before a cut."""

    def consider(self, cost: int, free_at: float, now: float, clock: ServerClock) -> None:
        """A call has to wait until ``free_at`` for this quota."""

    def tries_at(self, clock: ServerClock) -> float:
        """Instant of ours at which more may be tried than is known to be allowed."""
        return math.inf

    def settle(self, cost: int, charged: int, granted_at: float, now: float, clock: ServerClock) -> None:
        """A call ended. Its permits stay here, to be used again or returned."""
        self.in_use -= cost

    def learn(self, reading: Reading, granted_at: float, now: float, clock: ServerClock) -> None:
        """An answer told how the quota stands."""

    def is_news(self, reading: Reading) -> bool:
        """Whether a reading says anything but that all is as it was thought to be: all workers shall know soon."""
        limit = reading_limit(reading, self.quota)
        if self.is_doubtful or (isinstance(self.quota, Countable) and min(limit, self.quota.permits) != self.most):
            return True
        return reading.remaining is not None and limit - reading.remaining > max(self.used, self.most)

    def refund(self, cost: int) -> None:
        """A call was not made."""
        self.in_use -= cost
        if self.kind != "calls":
            self.out -= cost
            self.give_up(cost)

    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """The provider refused a call."""

    def adopt(self, state: list[float], clock: ServerClock, now: float) -> None:
        """What the server knows: see exchange.lua."""
        self.own, self.used, limit, closed, _, _, _, doubt, fair, out, others = state[:11]
        self.is_doubtful, self.has_others = doubt > 0, others > 0
        if isinstance(self.quota, Countable):
            self.most = limit
        self.closed_until = clock.surely_past(closed) if closed > 0 else -math.inf
        self.fair = None if fair < 0 else int(fair)
        self.others_out = out > self.own
        if self.others_out:
            self.others_at = now

    def forget(self, clock: ServerClock, now: float) -> None:
        """Drop of the mirror what counts no longer."""
        if self.mirror:
            last = clock.earliest(now) / self.grain
            self.mirror = {index: cost for index, cost in self.mirror.items() if index > last}

    def is_idle(self) -> bool:
        """Whether nothing of it is known here that anybody would miss."""
        return not (self.lanes or self.out or self.report or self.line or self.mirror)


class LeakyPermits(Bucket):
    """Permits of ended calls come back at the provider's pace."""

    kind = "leaky"

    def settle(self, cost: int, charged: int, granted_at: float, now: float, clock: ServerClock) -> None:
        """The call ended: what it was charged begins to come back."""
        self.in_use -= cost
        self.out -= cost
        self.unreported += cost
        self.reporting().charged += charged

    def learn(self, reading: Reading, granted_at: float, now: float, clock: ServerClock) -> None:
        """What the provider finds missing beyond our own calls, others took."""
        told = {"at": clock.earliest(granted_at), "limit": reading_limit(reading, self.quota), "lasts": 0, "doubt": 0}
        if reading.remaining is not None:
            told["remaining"] = reading.remaining
        self.reporting().readings.append(told)

    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """Where it is sure, the bucket was empty."""
        if is_sure:
            self.reporting().refused = 2


class PenaltyBox(Bucket):
    """No permits: everything is closed for a while after a refusal."""

    kind = "penalty"

    def settle(self, cost: int, charged: int, granted_at: float, now: float, clock: ServerClock) -> None:
        """Nothing was taken."""

    def refund(self, cost: int) -> None:
        """Nothing was taken."""

    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """The penalty begins, or begins again."""
        report = self.reporting()
        report.refused, report.refused_at = 2, clock.latest(now)
        self.closed_until = max(self.closed_until, now + self.span)


def reading_limit(reading: Reading, quota: Quota) -> int:
    """The limit that was told, or else the declared one."""
    declared = quota.permits if isinstance(quota, Countable) else 1
    return declared if reading.limit is None else max(1, reading.limit)
