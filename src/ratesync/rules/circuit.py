"""The circuit breaker: stop calling a connection that fails, and come back to it gently.

After Michael Nygard, "Release It!" (2007), with what experience added: the rate of failures over a sliding window
(Hystrix), slow calls as failures (resilience4j), one single probe, a wait that doubles with each failed probe, and a
slow start after (Finagle, Envoy). Work that is not let through stays queued; nothing is given up.

``HALF_OPEN`` means that a probe is under way, so there is never more than one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from attrs import evolve, frozen

from ratesync.model.event import CircuitState
from ratesync.model.policy import CircuitPolicy
from ratesync.rules.failure_window import Buckets, count, within


class Signal(StrEnum):
    """What can move a circuit."""

    TRIPPED = "tripped"
    """Too many calls failed."""
    DUE = "due"
    """The wait is over and a call asks to be let through: it is the probe."""
    PASSED = "passed"
    """The probe came back well."""
    FAILED = "failed"
    """The probe failed or was slow."""
    ABANDONED = "abandoned"
    """The probe ended without telling anything. The next call may be the probe at once."""


TRANSITIONS: Mapping[tuple[CircuitState, Signal], CircuitState] = MappingProxyType(
    {
        (CircuitState.CLOSED, Signal.TRIPPED): CircuitState.OPEN,
        (CircuitState.OPEN, Signal.DUE): CircuitState.HALF_OPEN,
        (CircuitState.HALF_OPEN, Signal.PASSED): CircuitState.CLOSED,
        (CircuitState.HALF_OPEN, Signal.FAILED): CircuitState.OPEN,
        (CircuitState.HALF_OPEN, Signal.ABANDONED): CircuitState.OPEN,
    }
)
"""Every move there is."""

UNWANTED_AFTER = 10
"""An open circuit that nobody asked for this many times ``max_open_for`` after its probe was due may be forgotten."""


@frozen
class Circuit:
    """The state of one connection's circuit. A new one is closed."""

    state: CircuitState = CircuitState.CLOSED
    buckets: Buckets = ()
    """Calls since it closed, over the sliding window."""
    failed_in_a_row: int = 0
    slow_start: int | None = None
    """Calls that came back well since it closed; None once its slow start is over."""
    opened_at: float = -math.inf
    """Instant at which it last opened, or its last probe failed."""
    failed_probes: int = 0
    """Probes that failed since it was last closed."""


@frozen
class Go:
    """Make the call."""

    probe: bool
    """It is the probe: say so when its end is recorded."""


@frozen
class Wait:
    """Do not make the call now."""

    until: float | None
    """Instant at which to ask again; None: when a call that is under way comes back."""


Admission = Go | Wait

_MOST_DOUBLINGS = 1000  # 2.0 ** 1024 overflows
_GO = Go(probe=False)
_PROBE = Go(probe=True)
_WAIT = Wait(None)


def admit(circuit: Circuit, policy: CircuitPolicy, now: float, in_flight: int) -> tuple[Circuit, Admission]:
    """Ask to make a call while ``in_flight`` calls of this circuit are under way.

    Every ``Go`` must be answered by one :func:`record` or :func:`abandon` with the same ``probe``.
    """
    if circuit.state is CircuitState.CLOSED:
        return circuit, _GO if _has_room(circuit.slow_start, policy, in_flight) else _WAIT
    if circuit.state is CircuitState.HALF_OPEN:
        return circuit, _WAIT
    probe_at = _probe_at(circuit, policy)
    if now < probe_at:
        return circuit, Wait(probe_at)
    return evolve(circuit, state=TRANSITIONS[circuit.state, Signal.DUE]), _PROBE


def record(circuit: Circuit, policy: CircuitPolicy, now: float, *, ok: bool, duration: float, probe: bool) -> Circuit:
    """The circuit after a call that took ``duration`` seconds ended ``now``.

    It opens at a failure if the window has ``min_calls`` calls and the share of failures reached ``failure_rate``, or
    if the last ``min_calls`` calls failed one and all: at a high rate of calls, an outage is seen long before it fills
    the window. A call above ``slow_after`` is a failure.
    """
    good = ok and duration <= policy.slow_after
    if probe:
        return _record_probe(circuit, policy, now, good=good)
    if circuit.state is not CircuitState.CLOSED or _is_old(circuit, policy, now - duration):
        return circuit
    buckets = count(circuit.buckets, policy.window, now, failed=not good)
    if good:
        return Circuit(circuit.state, buckets, 0, _ramped(circuit.slow_start, policy), circuit.opened_at)
    in_a_row = circuit.failed_in_a_row + 1
    if _is_failing(within(buckets, policy.window, now), in_a_row, policy):
        return Circuit(TRANSITIONS[circuit.state, Signal.TRIPPED], opened_at=now)
    slow_start = None if circuit.slow_start is None else 0
    return Circuit(circuit.state, buckets, in_a_row, slow_start, circuit.opened_at)


def abandon(circuit: Circuit, *, probe: bool) -> Circuit:
    """The circuit after a call that told nothing: it was cancelled, or not made after all."""
    if probe and circuit.state is CircuitState.HALF_OPEN:
        return evolve(circuit, state=TRANSITIONS[circuit.state, Signal.ABANDONED])
    return circuit


def is_idle(circuit: Circuit, now: float, policy: CircuitPolicy) -> bool:
    """Tell whether the circuit may be forgotten, that is, replaced by a new one when it is asked for again.

    So it is when it is closed and no call ended within the window, or when it has been due for a probe for so long that
    there is surely no work for it (:data:`UNWANTED_AFTER`). The number of circuits is thus bounded by their use.
    """
    if circuit.state is CircuitState.CLOSED:
        return not within(circuit.buckets, policy.window, now)
    unwanted_for = now - _probe_at(circuit, policy)
    return circuit.state is CircuitState.OPEN and unwanted_for > UNWANTED_AFTER * policy.max_open_for


def _record_probe(circuit: Circuit, policy: CircuitPolicy, now: float, *, good: bool) -> Circuit:
    if circuit.state is not CircuitState.HALF_OPEN:
        return circuit
    if not good:
        state = TRANSITIONS[circuit.state, Signal.FAILED]
        return Circuit(state, opened_at=now, failed_probes=circuit.failed_probes + 1)
    # The probe counts as a call, so that a circuit in its slow start is not idle.
    buckets = count((), policy.window, now, failed=False)
    return Circuit(TRANSITIONS[circuit.state, Signal.PASSED], buckets, slow_start=0, opened_at=circuit.opened_at)


def _probe_at(circuit: Circuit, policy: CircuitPolicy) -> float:
    """Instant from which a probe may go: the wait doubles with each that failed."""
    doublings = min(circuit.failed_probes, _MOST_DOUBLINGS)
    return circuit.opened_at + min(policy.open_for * 2.0**doublings, policy.max_open_for)


def _is_old(circuit: Circuit, policy: CircuitPolicy, started_at: float) -> bool:
    """Tell whether a call started before the circuit opened, so that it says nothing about the time after.

    No call but the probe starts between the opening and the closing. Any instant between the two tells old calls from
    new ones; half way to the first probe leaves room for rounding.
    """
    return started_at < circuit.opened_at + min(policy.open_for, policy.max_open_for) / 2


def _has_room(slow_start: int | None, policy: CircuitPolicy, in_flight: int) -> bool:
    return slow_start is None or in_flight < min(2**slow_start, policy.slow_start_calls)


def _ramped(slow_start: int | None, policy: CircuitPolicy) -> int | None:
    """The slow start after one more call came back well."""
    if slow_start is None or 2**slow_start >= policy.slow_start_calls:
        return None
    return slow_start + 1


def _is_failing(buckets: Buckets, in_a_row: int, policy: CircuitPolicy) -> bool:
    calls = sum(bucket.calls for bucket in buckets)
    if calls < policy.min_calls:
        return False
    return in_a_row >= policy.min_calls or sum(bucket.failures for bucket in buckets) >= policy.failure_rate * calls
