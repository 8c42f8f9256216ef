"""What time it is at the server, as far as round trips tell."""

from __future__ import annotations

import math

from attrs import define

BASE = 1_750_000_000
"""Seconds since the epoch at which the server's instants begin: small numbers keep their microseconds in JSON."""

DRIFT = 0.0002
"""Seconds by which two clocks may come apart in a second."""


@define(eq=False)
class ServerClock:
    """Bounds for the server's time, from the instants of this process between which the server told its own."""

    least: float = -math.inf
    """The server's clock is ahead by at least so many seconds."""
    most: float = math.inf
    seen_at: float = 0.0

    def see(self, sent_at: float, received_at: float, told: float) -> bool:
        """The server told its time between these two instants. Tells whether one of the clocks has jumped."""
        loose = DRIFT * max(0.0, received_at - self.seen_at)
        self.seen_at = received_at
        least = max(self.least - loose, told - received_at)
        most = min(self.most + loose, told - sent_at)
        has_jumped = least > most
        if has_jumped:
            least, most = told - received_at, told - sent_at
        self.least, self.most = least, most
        return has_jumped

    @property
    def is_known(self) -> bool:
        """Whether the server has ever told its time."""
        return self.most < math.inf

    def latest(self, at: float) -> float:
        """The server's time at an instant of ours, at the latest."""
        return at + self.most

    def earliest(self, at: float) -> float:
        """The server's time at an instant of ours, at the earliest."""
        return at + self.least

    def surely_past(self, told: float) -> float:
        """The instant of ours at which the server's clock has surely reached ``told``."""
        return told - self.least
