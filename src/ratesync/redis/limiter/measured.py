"""A limit that nobody has told: counted as a rate is, under an estimate that all workers share."""

from __future__ import annotations

import math
from typing import Any

from attrs import define, field
from typing_extensions import override

from ratesync.model.feedback import Reading
from ratesync.redis.limiter.estimates import (
    Change,
    Event,
    Floor,
    Measure,
    Probe,
    Proof,
    Rejection,
    Restore,
    Returned,
    estimate_from,
    next_change,
)
from ratesync.redis.limiter.windows import RateWindow
from ratesync.redis.server.clock import ServerClock
from ratesync.rules.adaptive import CALM, HOLD, KEPT_FOR
from ratesync.rules.estimate import Estimate

SHORT = 8
"""Permits are leased for one part in so many of a window only, as what is leased blurs what is in use."""


@define(eq=False)
class MeasuredWindow(RateWindow):
    """The estimate is kept by the server and changed by compare-and-set: see ``scripts/limiter/estimate.lua``.

    What happens here is an event. The next estimate is computed from the events and from how the server says that
    things stand; if somebody else was faster, it is computed anew from theirs.
    """

    estimate: Estimate = field(factory=Estimate, init=False)
    """As the server told last."""
    change: Change | None = field(default=None, init=False)
    """To be made with the next exchange."""
    events: list[Event] = field(factory=list[Event], init=False)
    """What may change the estimate and did not yet."""
    floor: int = field(default=1, init=False)
    """The greatest cost so far."""
    cut_known_at: float = field(default=-math.inf, init=False)
    """Instant of ours at which the last cut was known here. What was granted before knows nothing of it."""
    slowest: float = field(default=0.0, init=False)
    """Seconds that a slow call takes of late."""
    returned: int = field(default=0, init=False)
    """Permits given back unused since the last request was made."""
    _returned_before: int = field(default=0, init=False)
    """The same between the request before and that one."""
    _charged: int = field(default=0, init=False)
    """What the call was charged that ended last."""
    _has_proved: bool = field(default=False, init=False)
    """The last event is that this call was accepted."""

    @property
    @override
    def patience(self) -> float:
        """Others measure by what has ended."""
        return self.span / SHORT

    @property
    @override
    def horizon(self) -> float:
        return self.span / SHORT

    @property
    @override
    def is_urgent(self) -> bool:
        return bool(self.events) or self.change is not None

    @property
    @override
    def is_alone(self) -> bool:
        return not self.estimate.is_proven

    @override
    def most_for(self, priority: int) -> float:
        """Any: an estimate is lifted by who asks for more."""
        return math.inf

    @override
    def is_idle(self) -> bool:
        return not self.is_urgent and super().is_idle()

    @override
    def note_cost(self, cost: int) -> None:
        if cost > self.floor:
            self.floor = cost
            if self.most < cost:
                self.events.append(Floor(cost))

    @override
    def spec(self, clock: ServerClock, now: float) -> dict[str, Any]:
        spec = super().spec(clock, now) | {"adaptive": True}
        if self.estimate.target is not None or self.change is not None:
            spec["ttl"] = KEPT_FOR + self.span
        if self.change is not None:
            spec["change"] = self.change.wire()
        self._returned_before += self.returned
        self.returned = 0
        return spec

    @override
    def settle(self, cost: int, charged: int, granted_at: float, now: float, clock: ServerClock) -> None:
        super().settle(cost, charged, granted_at, now, clock)
        self._charged = charged
        self.slowest = max(now - granted_at, self.slowest * 0.99)
        self.reporting().accepted += charged
        self._has_proved = self.is_alone and granted_at >= self.cut_known_at
        if self._has_proved:
            self._end_trial()
            self.events.append(Proof(self.estimate.cut_at))

    @override
    def give_up(self, cost: int) -> None:
        self.returned += cost
        if self.is_alone:
            self._end_trial()

    def _end_trial(self) -> None:
        self.reporting().tried = 1

    @override
    def learn(self, reading: Reading, granted_at: float, now: float, clock: ServerClock) -> None:
        """A reading tells of a declared quota."""

    @override
    def refuse(self, granted_at: float, now: float, clock: ServerClock, *, is_sure: bool) -> None:
        """The call that ended last was refused. It stays counted, as some providers count refused calls too."""
        charged = self._charged
        self.reporting().accepted -= charged
        if self._has_proved:
            self._has_proved = False
            self.events.pop()
        self.events.append(Rejection(charged, granted_at))

    @override
    def count_returned(self) -> None:
        returned = self._returned_before + self.returned
        if returned:
            self.events.append(Returned(returned, self.estimate.cut_at))
        self._returned_before = self.returned = 0

    @override
    def adopt(self, state: list[Any], clock: ServerClock, now: float) -> None:
        super().adopt(state, clock, now)
        self._has_proved = False
        text, version, mine, at, used, accepted = state[11]
        told = estimate_from(text) if text else Estimate()
        if self.change is not None and mine == self.change.version:
            del self.events[: self.change.events]
        if told.target is None and self.estimate.target is not None and not version:
            self.events.insert(0, Restore(self.estimate))
        elif told.cut_at > self.estimate.cut_at:
            self.cut_known_at = now
        self.is_cut = told.cut_at > self.estimate.cut_at or (told.limit or math.inf) < self.most
        self.is_changed = version != self.estimate.version
        if version or self.estimate.target is None:
            self.estimate = told
        limit = self.estimate.limit
        self.most = math.inf if limit is None else limit
        measure = Measure(used, accepted, max(1, self.floor), self.span, at, self.cut_known_at)
        self.change = next_change(told, int(version), self.events, measure)
        if self.change is None:
            self.events.clear()
        if not self.is_cut:
            self._returned_before = 0

    @override
    def consider(self, cost: int, free_at: float, now: float, clock: ServerClock) -> None:
        """The window is full until ``free_at``: try a step more if it is time."""
        estimate = self.estimate
        if estimate.target is None or not estimate.is_proven or self.is_urgent:
            return
        at = clock.earliest(now)
        if at < estimate.probe_at:
            return
        hold = HOLD if free_at > now + CALM * self.span else (1 + CALM) * self.span
        self.events.append(Probe(estimate.version, cost, hold + self.slowest))
        self.change = next_change(estimate, estimate.version, self.events, Measure(at=at, per=self.span))

    @override
    def tries_at(self, clock: ServerClock) -> float:
        estimate = self.estimate
        if estimate.target is None or not estimate.is_proven:
            return math.inf
        return clock.surely_past(estimate.probe_at) if estimate.probe_at > -math.inf else -math.inf
