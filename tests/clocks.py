"""Clocks that a test puts where it wants them."""

from __future__ import annotations

from attrs import Factory, define

from ratesync.clock import Clock, SystemClock


@define
class ManualClock:
    """Stands where it is put; a queue in a Redis takes it for the server's too."""

    at: float = 1_000_000.0

    @property
    def is_virtual(self) -> bool:
        return True

    def now(self) -> float:
        return self.at


@define
class SkewedClock:
    """The machine's clock, wrong by some seconds."""

    by: float
    clock: Clock = Factory(SystemClock)

    @property
    def is_virtual(self) -> bool:
        return False

    def now(self) -> float:
        return self.clock.now() + self.by
