"""How many permits a window has whose limit nobody tells: measured at a refusal, tried upward, proved after a cut.

An estimate is a handful of numbers, so that workers may share it: who sees something computes the next estimate and
stores it if the version is still the one it was computed from.

- A refusal measures: what was accepted of late, and nothing more, is the target. Calls that were under way then count
  as accepted until they come back refused.
- After a cut calls go one at a time until one is accepted. While even those are refused, nothing was measured: the
  target stays, and the rests between them double.
- When the window is full and a probe is due, a small step more is tried. When all of that came back accepted it belongs
  to the target and was kept for a while, the next step is three times as large. A failed probe thus costs one call in
  most cases.
- Who was locked out for long probes seldom. If it happens again soon after, the provider remembers longer than was
  thought: the target is the average over the whole cycle, and each step is kept for as long before the next one.
"""

from __future__ import annotations

import math

from attrs import evolve, frozen

FIRST_WAIT = 2.0
WAIT = 10.0
"""Seconds from a cut to the next probe: after a surprise, as its measure may be low, and after a probe that failed."""

GROWTH = 3
"""A probe begins with one permit above the target. Each step is so many times the one before that was accepted."""

LARGEST_STEP = 0.5
"""But at most this share of the target."""

FIRST_REST = 0.25
"""Share of the window between two calls while everything is refused. It doubles with each of them that is refused."""

LONGEST_REST = 60.0
"""Most seconds between two such calls, where the window is not longer."""

LONG = 3.0
"""The provider remembers longer than was thought if everything was refused for so many windows."""

LOCKED_OUT = 0.05
"""Share of the time that may be lost because a failed probe locks us out."""


@frozen
class Estimate:
    """What is known of a limit that nobody has told. At first: nothing."""

    target: int | None = None
    """Permits in a window that are accepted, as far as is known; None before the first refusal."""
    step: int = 0
    """Permits above the target that are being tried."""
    raised_at: float = -math.inf
    """Instant at which they were first let through."""
    probe_at: float = -math.inf
    """Instant from which the next step may be tried."""
    wait: float = WAIT
    """Seconds from a failed probe to the next one."""
    cut_at: float = -math.inf
    """Instant of the last refusal that cut the target. Refusals of calls granted before belong to it."""
    measured: int = 0
    """Permits that were accepted when the target was cut, or under way and not refused since."""
    was_probe: bool = False
    """The target was cut because a probe failed."""
    is_proven: bool = True
    """A call that was granted after the cut has been accepted."""
    resume_at: float = -math.inf
    """Instant before which nothing is tried, as even calls after the cut were refused."""
    rest: float = 0.0
    """Seconds between those calls."""
    locked_for: float = 0.0
    """Seconds from the last cut to the first accepted call, if calls granted after the cut were refused; else 0.0."""
    memory: float = 0.0
    """Seconds for which a step has to hold before it is believed; 0.0 if one window is enough."""
    version: int = 0
    """Counts the changes."""

    @property
    def limit(self) -> int | None:
        """Most permits in a window now."""
        return None if self.target is None else self.target + self.step


@frozen
class Refused:
    """A call that the provider refused, and what had been accepted before."""

    cost: int
    granted_at: float
    used: int
    """Permits used in this window by the other calls, those under way too."""
    accepted: int
    """Permits of all calls that were accepted since the last cut."""
    floor: int = 1
    """The target never falls below so many permits."""


def cut(estimate: Estimate, refused: Refused, per: float, now: float) -> Estimate:
    """The estimate after a refusal that came ``now``, for a window of ``per`` seconds."""
    version = estimate.version + 1
    if estimate.target is not None and refused.granted_at < estimate.cut_at:
        measured = max(refused.floor, estimate.measured - refused.cost)
        return evolve(estimate, version=version, measured=measured, target=min(estimate.target, measured))
    if not estimate.is_proven:
        rest = 2 * estimate.rest if estimate.resume_at > estimate.cut_at else max(FIRST_REST * per, estimate.rest)
        rest = min(rest, max(per, LONGEST_REST))
        return evolve(estimate, version=version, rest=rest, resume_at=now + rest)
    measured, memory = max(refused.floor, refused.used), estimate.memory
    target = measured if estimate.limit is None else min(estimate.limit, measured)
    if estimate.target is not None and estimate.step and memory:
        target = min(target, estimate.target)
    if not estimate.step and estimate.locked_for > LONG * per and now < estimate.cut_at + 2 * estimate.locked_for:
        target = min(target, int(refused.accepted * per / (now - estimate.cut_at)))
        memory = max(memory, estimate.locked_for)
    return evolve(
        estimate,
        version=version,
        target=max(refused.floor, target),
        step=0,
        probe_at=now + (estimate.wait if estimate.step else max(FIRST_WAIT, memory)),
        cut_at=now,
        measured=measured,
        was_probe=estimate.step > 0,
        is_proven=False,
        resume_at=-math.inf,
        locked_for=0.0,
        memory=memory,
    )


def prove(estimate: Estimate, now: float) -> Estimate:
    """The estimate after a call that was granted after the cut came back accepted ``now``."""
    version = estimate.version + 1
    if estimate.resume_at <= estimate.cut_at:
        return evolve(estimate, version=version, is_proven=True, rest=estimate.rest / 2, wait=WAIT)
    locked_for = now - estimate.cut_at
    wait = max(estimate.wait, locked_for / LOCKED_OUT) if estimate.was_probe else estimate.wait
    probe_at = now + (wait if estimate.was_probe else max(FIRST_WAIT, estimate.memory))
    return evolve(estimate, version=version, is_proven=True, locked_for=locked_for, wait=wait, probe_at=probe_at)


def lift(estimate: Estimate, floor: int) -> Estimate:
    """The estimate when a call was asked for that costs more than any before: with less it could never be made."""
    if estimate.target is None or estimate.target >= floor:
        return estimate
    return evolve(estimate, version=estimate.version + 1, target=floor)


def next_step(estimate: Estimate, cost: int) -> int:
    """The permits that a call of that cost adds to the limit if it is let through as a probe."""
    target = (estimate.target or 0) + estimate.step
    most = max(1, int(target * LARGEST_STEP))
    return max(1, cost, min(GROWTH * estimate.step, most))


def probe(estimate: Estimate, cost: int, held_for: float, now: float) -> Estimate:
    """The estimate when a call of that cost is let through though the window is full, as a probe is due.

    All of the last step was accepted.
    """
    target = (estimate.target or 0) + estimate.step
    return evolve(
        estimate,
        version=estimate.version + 1,
        target=target,
        measured=target,
        step=next_step(estimate, cost),
        raised_at=now,
        probe_at=now + max(held_for, estimate.memory),
    )
