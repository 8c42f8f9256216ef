"""How the strict server of the quota benchmark counts: pure rules, told the time."""

from __future__ import annotations

import bisect
import math
from collections import deque
from typing import Literal

from attrs import define, field, frozen

Limit = tuple[int, float]
"""Most calls, and the length of the window in seconds."""


@frozen(kw_only=True)
class Rules:
    """What the server allows."""

    limits: tuple[Limit, ...]
    kind: Literal["sliding", "fixed"] = "sliding"
    """Windows slide, or begin at multiples of their length since the epoch."""
    counts_refused: bool = False
    """A refused call uses the quota too."""
    penalty: float = 0.0
    """Seconds for which everything is refused after a refusal."""
    steps: tuple[tuple[float, int], ...] = ()
    """Seconds since the first call, and the first limit from then on."""
    used_before: bool = False
    """Somebody used the whole first limit half a window before the first call."""


@define
class SlidingLog:
    """The calls of the last ``per`` seconds, each by itself."""

    permits: int
    per: float
    counted: deque[float] = field(factory=deque[float], init=False)

    def has_room(self, now: float) -> bool:
        """Whether one more call fits."""
        edge = now - self.per
        while self.counted and self.counted[0] <= edge:
            self.counted.popleft()
        return len(self.counted) < self.permits

    def count(self, now: float) -> None:
        """Count a call."""
        self.counted.append(now)

    @property
    def remaining(self) -> int:
        """Calls that fit, as of the latest look."""
        return max(0, self.permits - len(self.counted))

    def reset_after(self, now: float) -> float:
        """Seconds until a call leaves the window."""
        return self.counted[0] + self.per - now if self.counted else 0.0


@define
class FixedCount:
    """The calls since the last multiple of ``per``."""

    permits: int
    per: float
    number: int = field(default=-1, init=False)
    counted: int = field(default=0, init=False)

    def has_room(self, now: float) -> bool:
        """Whether one more call fits."""
        number = math.floor(now / self.per)
        if number != self.number:
            self.number, self.counted = number, 0
        return self.counted < self.permits

    def count(self, now: float) -> None:
        """Count a call."""
        self.counted += 1

    @property
    def remaining(self) -> int:
        """Calls that fit, as of the latest look."""
        return max(0, self.permits - self.counted)

    def reset_after(self, now: float) -> float:
        """Seconds until the next window begins."""
        return (self.number + 1) * self.per - now


@define
class Judge:
    """Accepts or refuses each call the moment it arrives. The instants handed in must not go backwards."""

    rules: Rules
    windows: list[SlidingLog | FixedCount] = field(init=False)
    began_at: float | None = field(default=None, init=False)
    punished_until: float = field(default=-math.inf, init=False)
    accepted_at: list[float] = field(factory=list[float], init=False)
    refused_at: list[float] = field(factory=list[float], init=False)

    def __attrs_post_init__(self) -> None:
        kind = SlidingLog if self.rules.kind == "sliding" else FixedCount
        self.windows = [kind(permits, per) for permits, per in self.rules.limits]

    def decide(self, now: float) -> bool:
        """Whether the call that arrives now is accepted: every window must have room, else none changes."""
        if self.began_at is None:
            self._begin(now)
        self._step(now)
        has_room = [window.has_room(now) for window in self.windows]
        accepted = all(has_room) and now >= self.punished_until
        if accepted or self.rules.counts_refused:
            for window in self.windows:
                window.count(now)
        if accepted:
            self.accepted_at.append(now)
        else:
            self.refused_at.append(now)
            if self.rules.penalty and now >= self.punished_until:
                self.punished_until = now + self.rules.penalty
        return accepted

    def _begin(self, now: float) -> None:
        self.began_at = now
        if self.rules.used_before:
            permits, per = self.rules.limits[0]
            for window in self.windows:
                window.has_room(now)  # a fixed one learns its number
                for _ in range(permits):
                    window.count(now - per / 2)

    def _step(self, now: float) -> None:
        assert self.began_at is not None
        for after, permits in self.rules.steps:
            if now >= self.began_at + after:
                self.windows[0].permits = permits

    def retry_after(self, now: float) -> float | None:
        """Seconds that a refusal asks to wait; None if this server does not say."""
        return self.punished_until - now if now < self.punished_until else None


@frozen
class Verdict:
    """What came of a run, as the server counted it."""

    share: float
    """Percent of what the limits allowed in the measured time, from the first call."""
    pace: float
    """Percent of the limit's pace: how long so many whole windows of calls should take that were accepted, beside how
    long it took until the call after them came. Unlike the share it does not gain from a last window only begun."""
    accepted: int
    refused: int
    peak: int
    """Most calls that arrived within the first window, refused ones included."""
    refused_later: int
    """Refused after the mark that was set."""


def verdict(judge: Judge, seconds: float, marked_at: float = -math.inf) -> Verdict:
    """Weigh the first ``seconds``; fixed windows are weighed from the second whole one on.

    The calls of a start just before a window begins may count in two windows, for who does not know its beginning.
    """
    began_at = judge.began_at
    if began_at is None:
        return Verdict(0.0, 0.0, 0, 0, 0, 0)
    if judge.rules.kind == "fixed":
        per = judge.rules.limits[0][1]
        began_at = (math.ceil(began_at / per) + 1) * per
        seconds = math.floor(seconds / per - 2) * per
    ended_at = began_at + seconds
    accepted = [at for at in judge.accepted_at if began_at <= at < ended_at]
    refused = [at for at in judge.refused_at if at < ended_at]
    arrived = sorted(accepted + refused)
    per = judge.rules.limits[0][1]
    return Verdict(
        100 * len(accepted) / allowed(judge.rules, seconds),
        pace(judge.rules, accepted),
        len(accepted),
        len(refused),
        max((place + 1 - bisect.bisect_right(arrived, at - per) for place, at in enumerate(arrived)), default=0),
        sum(at >= marked_at for at in refused),
    )


def allowed(rules: Rules, seconds: float) -> float:
    """Calls that fit into so many seconds: of a strict window, ``permits`` in each whole one, and all begun by one."""
    if rules.steps:
        (_, per), total = rules.limits[0], 0.0
        ends = [after for after, _ in rules.steps[1:]] + [seconds]
        for (after, permits), end in zip(rules.steps, ends, strict=True):
            total += permits * max(0.0, min(end, seconds) - after) / per
        return total
    return min(permits * math.ceil(round(seconds / per, 6)) for permits, per in rules.limits)


def pace(rules: Rules, accepted_at: list[float]) -> float:
    """Percent of the pace of the limit that binds most.

    With no whole window of calls, or limits that change, it cannot be told: 100.
    """
    if rules.steps or rules.kind == "fixed":
        return 100.0
    paces: list[float] = []
    for permits, per in rules.limits:
        whole = (len(accepted_at) - 1) // permits
        if whole > 0:
            paces.append(100 * whole * per / (accepted_at[whole * permits] - accepted_at[0]))
    return max(paces, default=100.0)


def fairness(counts: list[int]) -> float:
    """Jain's index over callers: 1.0 when all got the same, 1/n when one got everything."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0
