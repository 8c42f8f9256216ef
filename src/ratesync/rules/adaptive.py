"""The window of a limit that nobody has told: counted as a rate is, and as large as the estimate says."""

from __future__ import annotations

import math

from attrs import define, field

from ratesync.model.feedback import Reading
from ratesync.rules.estimate import Estimate, Refused, cut, lift, next_step, probe, prove
from ratesync.rules.window import EXACT_PERMITS, SUB_WINDOWS, Window

UNLIMITED = 1 << 62

KEPT_FOR = 600.0
"""Seconds after the last call for which an estimate is remembered."""


CALM = 0.2
"""While no permit comes free within this share of a window, the provider counts what we count.

Otherwise it may have forgotten calls already that are counted here, and that a step was accepted tells nothing before
a whole window has passed."""


HOLD = 1.0
"""Seconds for which a step is kept even then: a fixed window that ends meanwhile lets through what none does else."""


@define(eq=False)
class AdaptiveWindow:
    """The permits of one adaptive quota that are used at one scope. A :class:`~ratesync.rules.meter.Meter`.

    Every refusal counts, whatever it was for: who knows that it was not for a rate does not tell it.
    """

    per: float
    """Length of the window in seconds."""
    estimate: Estimate = field(factory=Estimate, kw_only=True)
    window: Window = field(init=False)
    """What is used. Its limit is the estimate's."""
    at_once: int = field(default=UNLIMITED, init=False)
    """Permits up to which nothing has to be asked or noted down. -1 while every call has to."""
    floor: int = field(default=1, init=False)
    """The greatest cost so far: with less, such a call could never be made."""
    accepted: int = field(default=0, init=False)
    """Permits of calls since the last cut that were accepted."""
    charged: int = field(default=0, init=False)
    """What the call was charged that was settled last."""
    watched_from: float = field(default=math.inf, init=False)
    """Calls granted since then are noted when they come back."""
    trial: int = field(default=0, init=False)
    """Permits under way of calls that try a step, or prove the target after a cut."""
    filled_at: float = field(default=math.inf, init=False)
    """When the window was full with the step that is being tried."""
    has_proof: bool = field(default=False, init=False)
    """A call granted after the cut ended, and was not refused."""

    def __attrs_post_init__(self) -> None:
        self.window = Window(permits=UNLIMITED, per=self.per)
        self._follow(self.estimate)

    @property
    def limit(self) -> int | None:
        """Most permits now; None before the first refusal."""
        return self.estimate.limit

    def take(self, cost: int, now: float, kept: int = 0) -> bool:
        """Take permits for a call that starts now."""
        window = self.window
        if cost > self.floor:
            self._lift_floor(cost)
        if window.under_way + window.spent + cost + kept <= self.at_once:
            window.under_way += cost
            return True
        return self._take(cost, now, kept)

    def _lift_floor(self, cost: int) -> None:
        self.floor = cost
        self._follow(lift(self.estimate, cost))

    def _take(self, cost: int, now: float, kept: int) -> bool:
        self._conclude(now)
        if not self.estimate.is_proven:
            if self.trial or now < self.estimate.resume_at or not self.window.take(cost, now, kept):
                return False
            self.trial = cost
            return True
        is_trying = self.estimate.step > 0 and self.filled_at == math.inf
        if self.window.take(cost, now, kept):
            self.trial += cost if is_trying else 0
            return True
        if is_trying:
            self.filled_at = now
            self.at_once = self.window.limit
        return self._probe(cost, now, kept)

    def _probe(self, cost: int, now: float, kept: int) -> bool:
        """Take permits although the window is full, if a probe is due and all of the last step was accepted."""
        if self.trial or now < self.estimate.probe_at:
            return False
        if self.window.free_at(cost - next_step(self.estimate, cost), now, kept) > now:
            return False
        is_calm = self.window.free_at(1, now) > now + CALM * self.per
        self._follow(probe(self.estimate, cost, HOLD if is_calm else (1 + CALM) * self.per, now))
        self.window.under_way += cost
        self.trial = cost
        return True

    def refund(self, cost: int) -> None:
        """The call was not made."""
        self.window.refund(cost)
        self.trial = max(0, self.trial - cost)

    def settle(self, cost: int, charged: int, granted_at: float, now: float) -> None:
        """The call ended. It was accepted if no refusal follows."""
        window = self.window
        window.settle(cost, charged, granted_at, now)
        self.accepted += charged
        self.charged = charged
        if self.watched_from <= granted_at <= self.filled_at:
            self.trial = max(0, self.trial - cost)
            self.has_proof = True
        if len(window.ends) > EXACT_PERMITS:
            window.used(now)
            window.grain = self.per / SUB_WINDOWS

    def learn(self, reading: Reading, granted_at: float, now: float) -> bool:
        """A reading tells of a declared quota."""
        return False

    def refuse(self, granted_at: float, now: float, *, is_sure: bool) -> None:
        """The call that was settled last was refused. It stays counted, as some providers count refused calls too."""
        charged, self.charged = self.charged, 0
        self.accepted -= charged
        self.has_proof = False
        used = self.window.used(now) - charged
        if self.estimate.target is None and self.accepted <= 0 and not self.window.under_way:
            return  # nothing was accepted yet, so there is nothing to measure
        refused = Refused(charged, granted_at, used, self.accepted, self.floor)
        estimate = cut(self.estimate, refused, self.per, now)
        if estimate.cut_at > self.estimate.cut_at:
            self.accepted = self.trial = 0
        self._follow(estimate)

    def goes_alone(self, now: float) -> bool:
        """Calls need not go one at a time."""
        return False

    def used(self, now: float) -> int:
        """Permits in use now: of calls under way, and of those that were accepted within the window."""
        return self.window.used(now)

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is counted any more, and the estimate is too old to be of use."""
        if self.window.used(now):
            return False
        return self.estimate.target is None or now >= self.window.last_began_at + KEPT_FOR

    def free_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Instant at which permits can be taken if nobody takes or gives back any until then."""
        self._conclude(now)
        free_at = self.window.free_at(cost, now, kept)
        if not self.estimate.is_proven:
            return math.inf if self.trial else max(free_at, self.estimate.resume_at)
        if self.estimate.target is None or self.trial:
            return free_at
        probe_at = max(now, self.estimate.probe_at)
        step = next_step(self.estimate, cost)
        return min(free_at, max(probe_at, self.window.free_at(cost - step, now, kept)))

    def earliest_at(self, cost: int, now: float, kept: int = 0) -> float:
        """Surely not before this instant, whatever calls under way do."""
        self._conclude(now)
        earliest_at = min(self.window.earliest_at(cost, now, kept), max(now, self.estimate.probe_at))
        return max(earliest_at, self.estimate.resume_at)

    def _conclude(self, now: float) -> None:
        """A call after the cut was accepted."""
        if not self.estimate.is_proven and self.has_proof:
            self._follow(prove(self.estimate, now))

    def _follow(self, estimate: Estimate) -> None:
        self.estimate = estimate
        limit = self.limit
        if limit is None:
            return
        self.window.limit = limit
        if limit <= EXACT_PERMITS:
            self.window.grain = 0.0
        if estimate.is_proven and not estimate.step:
            self.at_once, self.watched_from = limit, math.inf
        else:
            self.at_once = -1
            self.watched_from = estimate.raised_at if estimate.is_proven else estimate.cut_at
        self.filled_at = math.inf
