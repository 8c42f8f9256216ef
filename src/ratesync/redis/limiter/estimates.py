"""How the estimate of a limit goes on: events that workers see, and the next estimate that comes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import asdict, evolve, frozen

from ratesync.rules.estimate import Estimate, Refused, cut, lift, probe, prove


@frozen
class Measure:
    """How things stand, as the server told."""

    used: int = 0
    """Permits in use by all workers."""
    accepted: int = 0
    """Permits of calls that were accepted since the last cut."""
    floor: int = 1
    """The greatest cost so far."""
    per: float = 1.0
    """Length of the window in seconds."""
    at: float = 0.0
    """The server's time."""
    cut_known_at: float = -math.inf
    """Instant of ours since which grants are made that know of the last cut."""


class Event(Protocol):
    """Something that may change an estimate."""

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """The estimate after it: the same one if it does not matter any more."""
        ...


@frozen
class Rejection:
    """A call was refused."""

    charged: int
    granted_at: float
    """Instant of ours."""

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """A refusal measures."""
        used = measure.used - self.charged
        if estimate.target is None and measure.accepted <= 0 and used <= 0:
            return estimate  # nothing was accepted yet, so there is nothing to measure
        knows = self.granted_at >= measure.cut_known_at and estimate.cut_at < measure.at
        granted_at = estimate.cut_at if knows else -math.inf
        refused = Refused(self.charged, granted_at, used, measure.accepted, measure.floor)
        return cut(estimate, refused, measure.per, measure.at)


@frozen
class Returned:
    """Permits were given back unused that a cut counted as used."""

    permits: int
    cut_at: float

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """As if their calls had come back refused."""
        if estimate.cut_at != self.cut_at:
            return estimate
        return cut(estimate, Refused(self.permits, -math.inf, 0, 0, measure.floor), measure.per, measure.at)


@frozen
class Proof:
    """A call that was granted after a cut was accepted."""

    cut_at: float

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """It proves nothing of a later cut."""
        is_meant = not estimate.is_proven and estimate.cut_at == self.cut_at
        return prove(estimate, measure.at) if is_meant else estimate


@frozen
class Floor:
    """A call was asked for that costs more than any before."""

    cost: int

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """With less it could never be made."""
        return lift(estimate, self.cost)


@frozen
class Probe:
    """The window was full, and a step was due."""

    version: int
    cost: int
    held_for: float

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """Another change may have made it pointless; if it did not, it will be due again soon."""
        is_due = estimate.version == self.version and measure.at >= estimate.probe_at
        return probe(estimate, self.cost, self.held_for, measure.at) if is_due else estimate


@frozen
class Restore:
    """The server has lost an estimate."""

    known: Estimate

    def apply(self, estimate: Estimate, measure: Measure) -> Estimate:
        """The last known one is better than none. Its instants may be of another clock."""
        if estimate.version:
            return estimate
        known, at = self.known, measure.at
        return evolve(
            known,
            version=known.version + 1,
            cut_at=min(known.cut_at, at),
            raised_at=min(known.raised_at, at),
            probe_at=min(known.probe_at, at + known.wait),
            resume_at=min(known.resume_at, at + known.rest),
        )


@frozen
class Change:
    """The next estimate, if the version is still the one from which it was computed."""

    before: int
    estimate: Estimate
    events: int
    """How many of the events are part of it."""
    is_cut: bool
    """It measures anew."""

    @property
    def version(self) -> int:
        """The version after it."""
        return self.estimate.version

    def wire(self) -> dict[str, Any]:
        """As the script takes it."""
        estimate = self.estimate
        return {
            "from": self.before,
            "version": estimate.version,
            "text": text_of(estimate),
            "limit": 1e15 if estimate.limit is None else estimate.limit,
            "alone": not estimate.is_proven,
            "resume": max(0.0, estimate.resume_at),
            "cut": self.is_cut,
        }


def next_change(estimate: Estimate, version: int, events: Sequence[Event], measure: Measure) -> Change | None:
    """What comes of all events; None if nothing does."""
    now = evolve(estimate, version=version)
    for event in events:
        now = event.apply(now, measure)
    if now.version == version:
        return None
    return Change(version, now, len(events), now.cut_at > estimate.cut_at)


def text_of(estimate: Estimate) -> str:
    """The estimate as JSON: instants that never were are left out."""
    return json.dumps({name: value for name, value in asdict(estimate).items() if value not in {None, -math.inf}})


def estimate_from(text: str) -> Estimate:
    """The other way round."""
    return Estimate(**json.loads(text))
