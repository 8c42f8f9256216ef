"""What this engine knows of each lane: its circuit, its calls under way, its retry budget."""

from __future__ import annotations

from attrs import define

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.model.event import CircuitChanged, CircuitState
from ratesync.model.lane import Lane
from ratesync.model.settings import Settings
from ratesync.rules import circuit as circuits
from ratesync.rules.circuit import Admission, Circuit
from ratesync.rules.retry import RetryBudget, earn, spend

_SWEEP_ABOVE = 256
"""Lanes known before the first look for idle ones."""
_FRESH = Circuit()


@define
class LaneHealth:
    """The state of one lane."""

    circuit: Circuit
    budget: RetryBudget
    in_flight: int = 0
    held_until: float = 0.0
    """The provider asked to be left alone until this instant."""
    throttles: int = 0
    """How often it asked so in a row."""
    throttled_at: float = 0.0
    """When it asked so last."""


class HealthBoard:
    """Keeps the health of lanes that are in use, and forgets the others."""

    def __init__(self, settings: Settings, clock: Clock, notify: Notifier) -> None:
        self._settings = settings
        self._clock = clock
        self._notify = notify
        self._lanes: dict[Lane, LaneHealth] = {}
        self._full = RetryBudget(settings.retry.budget_reserve)
        self._latest = _FRESH
        """The circuit that was decided last. Lanes that are called at about the same time, and are well, share it."""
        self._sweep_above = _SWEEP_ABOVE

    def _of(self, lane: Lane) -> LaneHealth:
        health = self._lanes.get(lane)
        if health is None:
            if len(self._lanes) >= self._sweep_above:
                self._forget_idle()
            health = LaneHealth(_FRESH, self._full)
            self._lanes[lane] = health
        return health

    def _forget_idle(self) -> None:
        now = self._clock.now()
        policy = self._settings.circuit
        for lane, health in list(self._lanes.items()):
            if not health.in_flight and health.held_until <= now and circuits.is_idle(health.circuit, now, policy):
                del self._lanes[lane]
        # Twice what is left, so that looking costs each lane a constant over time.
        self._sweep_above = max(_SWEEP_ABOVE, 2 * len(self._lanes))

    def admit(self, lane: Lane) -> Admission:
        """Ask the lane's circuit for one call; a ``Go`` must be followed by ``record`` or ``abandon``."""
        health = self._of(lane)
        decided, admission = circuits.admit(health.circuit, self._settings.circuit, self._clock.now(), health.in_flight)
        self._change(lane, health, decided)
        if isinstance(admission, circuits.Go):
            health.in_flight += 1
        return admission

    def record(self, lane: Lane, *, ok: bool, duration: float, probe: bool) -> None:
        """A call ended."""
        health = self._lanes[lane]
        health.in_flight -= 1
        policy = self._settings.circuit
        now = self._clock.now()
        decided = circuits.record(health.circuit, policy, now, ok=ok, duration=duration, probe=probe)
        self._change(lane, health, decided)

    def abandon(self, lane: Lane, *, probe: bool) -> None:
        """A call that was let through was not made, or nothing was learnt from it."""
        health = self._lanes[lane]
        health.in_flight -= 1
        self._change(lane, health, circuits.abandon(health.circuit, probe=probe))

    def hold(self, lane: Lane, until: float) -> None:
        """The provider asked to be left alone until an instant."""
        health = self._of(lane)
        health.held_until = max(health.held_until, until)

    def note_throttling(self, lane: Lane, *, throttled: bool, admitted_at: float) -> None:
        """A call that was admitted at an instant was throttled or not. Calls made side by side count once."""
        health = self._of(lane)
        if not throttled:
            health.throttles = 0
        elif admitted_at >= health.throttled_at:
            health.throttles += 1
            health.throttled_at = self._clock.now()

    def throttles(self, lane: Lane) -> int:
        """How often in a row the provider asked to be left alone."""
        return self._of(lane).throttles

    def held_until(self, lane: Lane) -> float:
        """The instant until which the provider asked to be left alone; in the past if it did not."""
        return self._of(lane).held_until

    def is_closed(self, lane: Lane) -> bool:
        """Tell whether the lane's circuit is closed."""
        return self._of(lane).circuit.state is CircuitState.CLOSED

    def afford_retry(self, lane: Lane) -> bool:
        """Take one retry from the lane's budget, if there is one."""
        health = self._of(lane)
        left = spend(health.budget)
        if left is not None:
            health.budget = left
        return left is not None

    def earn_retry(self, lane: Lane) -> None:
        """A first attempt was made; it earns a part of the right to retry."""
        health = self._of(lane)
        health.budget = earn(health.budget, self._settings.retry)

    def _change(self, lane: Lane, health: LaneHealth, decided: Circuit) -> None:
        if decided != self._latest:
            self._latest = decided
        before, health.circuit = health.circuit.state, self._latest
        if before is not decided.state and self._notify.active:
            self._notify(CircuitChanged(self._clock.now(), lane, before, decided.state))
