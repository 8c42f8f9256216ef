"""The strict side of a rate limit: every window is a log of arrivals, and a request counts when it arrives."""

from __future__ import annotations

import math
from collections import deque

from attrs import define, field

from .crm_options import RetryAfterForm, Window

# A refusal never says "0 s", whatever the rounding of floats leaves.
SHORTEST_WAIT = 0.001


@define
class WindowLog:
    """The arrivals of the last `window.per` seconds, and the highest counts ever seen in such a span."""

    window: Window
    counted: deque[float] = field(factory=deque[float], init=False)
    arrived: deque[float] = field(factory=deque[float], init=False)
    peak_accepted: int = field(default=0, init=False)
    peak_arrived: int = field(default=0, init=False)

    def arrive(self, now: float) -> None:
        """Forget what has left the window and note that a request came, whatever becomes of it."""
        edge = now - self.window.per
        for log in (self.counted, self.arrived):
            while log and log[0] <= edge:
                log.popleft()
        self.arrived.append(now)
        self.peak_arrived = max(self.peak_arrived, len(self.arrived))

    @property
    def has_room(self) -> bool:
        """Whether one more request fits, as of the latest arrival."""
        return len(self.counted) < self.window.permits

    def wait(self, now: float) -> float:
        """Seconds until one more request fits; 0.0 when it fits now."""
        if self.has_room:
            return 0.0
        return max(SHORTEST_WAIT, self.counted[-self.window.permits] + self.window.per - now)


class SlidingWindows:
    """Several windows at once: a request is accepted when every one of them has room, else it changes none.

    With `count_refused` a refused request is entered in the logs as well, so a client that keeps knocking stays out.
    Times are seconds on any clock that never runs backwards.
    """

    def __init__(self, windows: tuple[Window, ...], *, count_refused: bool = False) -> None:
        self.logs = tuple(WindowLog(window) for window in windows)
        self._count_refused = count_refused

    def arrive(self, now: float) -> float:
        """Count a request that arrives at `now`. Returns 0.0 when accepted, else the seconds until one would be."""
        for log in self.logs:
            log.arrive(now)
        accepted = all(log.has_room for log in self.logs)
        if accepted or self._count_refused:
            for log in self.logs:
                log.counted.append(now)
        if not accepted:
            return max(log.wait(now) for log in self.logs)
        for log in self.logs:
            log.peak_accepted = max(log.peak_accepted, len(log.counted))
        return 0.0


def retry_after_header(wait: float, form: RetryAfterForm) -> str | None:
    """The value of `Retry-After` for a wait in seconds. Rounded up, so that a client who obeys is not refused again."""
    if form == "none":
        return None
    if form == "seconds":
        return str(math.ceil(wait))
    return f"{math.ceil(wait * 1000) / 1000:.3f}"
