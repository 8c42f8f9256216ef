from __future__ import annotations

import heapq
from itertools import count
from typing import NamedTuple

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]  # hypothesis leaves its types out
)

from ratesync.model.event import CircuitState
from ratesync.model.policy import CircuitPolicy
from ratesync.rules.circuit import (
    TRANSITIONS,
    UNWANTED_AFTER,
    Admission,
    Circuit,
    Go,
    Signal,
    Wait,
    abandon,
    admit,
    is_idle,
    record,
)
from ratesync.rules.failure_window import BUCKETS

NOW = 1.7e9
POLICY = CircuitPolicy()
CLOSED, OPEN, HALF_OPEN = CircuitState

policies = st.builds(
    CircuitPolicy,
    window=st.floats(0.5, 60),
    min_calls=st.integers(1, 6),
    failure_rate=st.floats(0.1, 1),
    slow_after=st.floats(1, 30),
    open_for=st.floats(0.1, 20),
    max_open_for=st.floats(0.1, 60),
    slow_start_calls=st.integers(1, 20),
)


def after_calls(circuit: Circuit, *results: bool, now: float = NOW, policy: CircuitPolicy = POLICY) -> Circuit:
    for ok in results:
        circuit = record(circuit, policy, now, ok=ok, duration=0.1, probe=False)
    return circuit


def opened(now: float = NOW, policy: CircuitPolicy = POLICY) -> Circuit:
    circuit = after_calls(Circuit(), *[False] * policy.min_calls, now=now, policy=policy)
    assert circuit.state is OPEN
    return circuit


def half_opened(now: float = NOW) -> Circuit:
    circuit, admission = admit(opened(now - POLICY.open_for), POLICY, now, 0)
    assert admission == Go(probe=True)
    return circuit


def after_probe(circuit: Circuit, *, ok: bool, now: float = NOW, duration: float = 0.1) -> Circuit:
    return record(circuit, POLICY, now, ok=ok, duration=duration, probe=True)


class Call(NamedTuple):
    started_at: float
    probe: bool
    era: int
    """How often the circuit had opened."""


class CircuitMachine(RuleBasedStateMachine):
    """A circuit beside a plain account of all that happened to it."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit()
        self.policy = POLICY
        self.now = NOW
        self.calls: list[Call] = []
        self.forget_everything()
        self.era = 0

    def forget_everything(self) -> None:
        self.state = CLOSED
        self.results: list[tuple[float, bool]] = []
        """Ends and failures since it closed."""
        self.good_calls: int | None = None
        self.opened_at = 0.0
        self.failed_probes = 0

    @initialize(policy=policies)
    def choose(self, policy: CircuitPolicy) -> None:
        self.policy = policy

    @rule(seconds=st.floats(0.001, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_wait_ends(self) -> None:
        self.now = max(self.now, self.probe_at())

    def probe_at(self) -> float:
        return self.opened_at + min(self.policy.open_for * 2.0**self.failed_probes, self.policy.max_open_for)

    def room(self) -> int | None:
        return None if self.good_calls is None else min(2**self.good_calls, self.policy.slow_start_calls)

    @rule(times=st.integers(1, 5))
    def ask(self, times: int) -> None:
        for _ in range(times):
            expected = self.expected_admission()
            self.circuit, admission = admit(self.circuit, self.policy, self.now, len(self.calls))
            assert admission == expected
            if isinstance(admission, Go):
                self.calls.append(Call(self.now, admission.probe, self.era))
                self.state = HALF_OPEN if admission.probe else CLOSED
            else:
                assert admission.until is None or admission.until > self.now
                assert admission.until is not None or self.calls, "nobody would ever wake it"

    def expected_admission(self) -> Admission:
        if self.state is HALF_OPEN:
            return Wait(None)
        if self.state is OPEN:
            return Wait(self.probe_at()) if self.now < self.probe_at() else Go(probe=True)
        room = self.room()
        return Go(probe=False) if room is None or len(self.calls) < room else Wait(None)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: st.DataObject, ok: bool) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        duration = self.now - call.started_at
        before = self.circuit
        self.circuit = record(before, self.policy, self.now, ok=ok, duration=duration, probe=call.probe)
        failed = not ok or duration > self.policy.slow_after
        if call.probe:
            self.expect_after_probe(failed=failed)
        elif self.state is CLOSED and call.era == self.era:
            self.expect_after_call(failed=failed)
        else:
            assert self.circuit is before, "a call from before the opening says nothing"

    def expect_after_probe(self, *, failed: bool) -> None:
        if failed:
            self.state = OPEN
            self.opened_at = self.now
            self.failed_probes += 1
        else:
            self.state = CLOSED
            self.results = [(self.now, False)]
            self.good_calls = 0
            self.failed_probes = 0

    def expect_after_call(self, *, failed: bool) -> None:
        self.results.append((self.now, failed))
        if not failed:
            room = self.room()
            over = self.good_calls is None or (room is not None and room >= self.policy.slow_start_calls)
            self.good_calls = None if over or self.good_calls is None else self.good_calls + 1
        elif self.must_open():
            self.state = OPEN
            self.opened_at = self.now
            self.era += 1
        elif self.good_calls is not None:
            self.good_calls = 0

    def in_window(self) -> list[bool]:
        tenth = self.policy.window / BUCKETS
        return [failed for at, failed in self.results if self.now // tenth - at // tenth < BUCKETS]

    def must_open(self) -> bool:
        window = self.in_window()
        if len(window) < self.policy.min_calls:
            return False
        latest = [failed for _, failed in self.results[-self.policy.min_calls :]]
        return all(latest) or sum(window) >= self.policy.failure_rate * len(window)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.circuit
        self.circuit = abandon(before, probe=call.probe)
        if call.probe:
            self.state = OPEN
        else:
            assert self.circuit is before

    @precondition(lambda self: not self.calls and is_idle(self.circuit, self.now, self.policy))
    @rule()
    def forget(self) -> None:
        if self.state is CLOSED:
            assert self.in_window() == []
        else:
            assert self.now > self.probe_at() + UNWANTED_AFTER * self.policy.max_open_for
        self.circuit = Circuit()
        self.forget_everything()

    @invariant()
    def the_state_is_as_expected(self) -> None:
        assert self.circuit.state is self.state

    @invariant()
    def there_is_at_most_one_probe_and_exactly_one_while_half_open(self) -> None:
        assert sum(call.probe for call in self.calls) == (self.circuit.state is HALF_OPEN)


def test_a_circuit_does_what_the_account_of_it_says() -> None:
    run_state_machine_as_test(CircuitMachine)


def test_the_table_has_the_known_moves_and_no_other() -> None:
    assert dict(TRANSITIONS) == {
        (CLOSED, Signal.TRIPPED): OPEN,
        (OPEN, Signal.DUE): HALF_OPEN,
        (HALF_OPEN, Signal.PASSED): CLOSED,
        (HALF_OPEN, Signal.FAILED): OPEN,
        (HALF_OPEN, Signal.ABANDONED): OPEN,
    }


def test_a_new_circuit_lets_any_number_of_calls_through() -> None:
    assert admit(Circuit(), POLICY, NOW, 10_000) == (Circuit(), Go(probe=False))


def test_it_opens_at_the_share_of_failures_that_the_policy_allows() -> None:
    policy = CircuitPolicy(min_calls=4, failure_rate=0.5)
    assert after_calls(Circuit(), True, True, True, False, False, policy=policy).state is CLOSED
    assert after_calls(Circuit(), True, True, True, False, False, False, policy=policy).state is OPEN


def test_too_few_calls_mean_nothing() -> None:
    assert after_calls(Circuit(), *[False] * (POLICY.min_calls - 1)).state is CLOSED


def test_failures_that_left_the_window_do_not_count() -> None:
    circuit = after_calls(Circuit(), *[False] * (POLICY.min_calls - 1))
    assert after_calls(circuit, False, now=NOW + POLICY.window + 1).state is CLOSED


def test_an_outage_is_seen_at_once_though_the_window_is_full_of_good_calls() -> None:
    circuit = after_calls(Circuit(), *[True] * 1_500)
    assert after_calls(circuit, *[False] * (POLICY.min_calls - 1)).state is CLOSED
    assert after_calls(circuit, *[False] * POLICY.min_calls).state is OPEN


def test_the_probe_that_closed_it_breaks_a_row_of_failures() -> None:
    policy = CircuitPolicy(failure_rate=1.0)
    closed = after_probe(half_opened(), ok=True)
    assert after_calls(closed, *[False] * (policy.min_calls - 1), policy=policy).state is CLOSED
    assert after_calls(closed, *[False] * policy.min_calls, policy=policy).state is OPEN


def test_slow_calls_are_failures() -> None:
    assert after_probe(half_opened(), ok=True, duration=POLICY.slow_after).state is CLOSED
    circuit = Circuit()
    for _ in range(POLICY.min_calls):
        circuit = record(circuit, POLICY, NOW, ok=True, duration=POLICY.slow_after + 0.1, probe=False)
    assert circuit.state is OPEN
    assert after_probe(half_opened(), ok=True, duration=POLICY.slow_after + 0.1).state is OPEN


def test_finding_11_of_a_hundred_callers_one_is_the_probe() -> None:
    circuit = opened()
    admissions: list[Admission] = []
    for _ in range(100):
        circuit, admission = admit(circuit, POLICY, NOW + POLICY.open_for, len(admissions))
        admissions.append(admission)
    assert admissions == [Go(probe=True)] + [Wait(None)] * 99


def test_nobody_goes_while_it_is_open_before_the_instant() -> None:
    until = NOW + POLICY.open_for
    for now in (NOW, NOW + 1, until - 1e-3):
        assert admit(opened(), POLICY, now, 0) == (opened(), Wait(until))
    assert admit(opened(), POLICY, until, 0)[1] == Go(probe=True)


def test_the_wait_doubles_with_each_failed_probe_up_to_its_maximum_and_starts_anew_when_it_closed() -> None:
    circuit, now, waits = opened(), NOW, list[float]()
    for _ in range(6):
        _, admission = admit(circuit, POLICY, now, 0)
        assert isinstance(admission, Wait)
        assert admission.until is not None
        waits.append(admission.until - now)
        now = admission.until
        circuit = after_probe(admit(circuit, POLICY, now, 0)[0], ok=False, now=now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    closed = after_probe(admit(circuit, POLICY, now + 60, 0)[0], ok=True, now=now + 60)
    again = after_calls(closed, *[False] * POLICY.min_calls, now=now + 61)
    assert admit(again, POLICY, now + 61, 0)[1] == Wait(now + 61 + POLICY.open_for)


def test_ten_thousand_failed_probes_do_not_overflow() -> None:
    circuit = evolve(opened(), failed_probes=10_000)
    assert admit(circuit, POLICY, NOW, 0)[1] == Wait(NOW + POLICY.max_open_for)


def test_the_first_wait_is_not_above_the_maximum() -> None:
    policy = CircuitPolicy(open_for=50.0, max_open_for=2.0)
    assert admit(opened(policy=policy), policy, NOW, 0)[1] == Wait(NOW + 2.0)


@pytest.mark.parametrize("slow_start_calls", [1, 3, 16])
def test_case_61_after_closing_calls_are_let_through_one_two_four_at_once(slow_start_calls: int) -> None:
    policy = CircuitPolicy(slow_start_calls=slow_start_calls)
    circuit = after_probe(half_opened(), ok=True)
    for expected in [1, 2, 4, 8, 16]:
        room = min(expected, slow_start_calls)
        assert admit(circuit, policy, NOW, room - 1) == (circuit, Go(probe=False))
        assert admit(circuit, policy, NOW, room) == (circuit, Wait(None))
        circuit = record(circuit, policy, NOW + 1, ok=True, duration=0.5, probe=False)
        if room == slow_start_calls:
            break
    assert admit(circuit, policy, NOW, 10_000) == (circuit, Go(probe=False))


def test_a_failure_starts_the_slow_start_again() -> None:
    circuit = after_calls(after_probe(half_opened(), ok=True), True, True, True, now=NOW + 1)
    assert admit(circuit, POLICY, NOW + 1, 7)[1] == Go(probe=False)
    circuit = after_calls(circuit, False, now=NOW + 2)
    assert admit(circuit, POLICY, NOW + 2, 1)[1] == Wait(None)
    assert admit(circuit, POLICY, NOW + 2, 0)[1] == Go(probe=False)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.floats(0, 100))
def test_calls_from_before_the_opening_neither_close_nor_open_it(results: list[bool], later: float) -> None:
    closed = after_probe(half_opened(), ok=True)
    for circuit in (opened(), half_opened(), closed):
        after = circuit
        for ok in results:
            duration = POLICY.open_for + later + 0.1
            after = record(after, POLICY, NOW + later, ok=ok, duration=duration, probe=False)
        assert after is circuit


@given(st.floats(0, 4e9), st.floats(0, 100))
def test_calls_from_the_instant_of_closing_count(start: float, duration: float) -> None:
    _, admission = admit(opened(start), POLICY, start, 0)
    assert isinstance(admission, Wait)
    assert admission.until is not None
    half_open, _ = admit(opened(start), POLICY, admission.until, 0)
    closed = after_probe(half_open, ok=True, now=admission.until, duration=0.0)
    after = record(closed, POLICY, admission.until + duration, ok=True, duration=duration, probe=False)
    assert after is not closed


def test_an_abandoned_probe_makes_room_for_the_next_at_once() -> None:
    circuit = abandon(half_opened(), probe=True)
    assert admit(circuit, POLICY, NOW, 0)[1] == Go(probe=True)


@pytest.mark.parametrize("circuit", [Circuit(), opened(), half_opened()], ids=["closed", "open", "half-open"])
def test_an_abandoned_call_changes_nothing(circuit: Circuit) -> None:
    assert abandon(circuit, probe=False) is circuit


@pytest.mark.parametrize("circuit", [Circuit(), opened()], ids=["closed", "open"])
def test_a_probe_of_a_circuit_that_is_not_half_open_changes_nothing(circuit: Circuit) -> None:
    assert abandon(circuit, probe=True) is circuit
    assert after_probe(circuit, ok=True) is circuit
    assert after_probe(circuit, ok=False) is circuit


def test_a_closed_circuit_is_idle_once_its_window_is_empty() -> None:
    assert is_idle(Circuit(), NOW, POLICY)
    used = after_calls(Circuit(), True)
    assert not is_idle(used, NOW + POLICY.window * 0.8, POLICY)
    assert is_idle(used, NOW + POLICY.window, POLICY)


def test_a_circuit_in_its_slow_start_is_not_idle() -> None:
    closed = after_probe(half_opened(), ok=True)
    assert not is_idle(closed, NOW, POLICY)
    assert is_idle(closed, NOW + POLICY.window, POLICY)


def test_a_circuit_that_is_not_closed_is_idle_only_when_nobody_wants_it_any_more() -> None:
    last = NOW + POLICY.open_for + UNWANTED_AFTER * POLICY.max_open_for
    assert not is_idle(opened(), last, POLICY)
    assert is_idle(opened(), last + 1, POLICY)
    assert not is_idle(half_opened(), last * 2, POLICY)


class Ended(NamedTuple):
    """A call that comes back."""

    started_at: float
    probe: bool


@define
class Outage:
    """A provider that fails for a while, and a queue that gets operations at a steady rate and keeps them."""

    starts_at: float
    failing_for: float = 120.0
    failure_takes: float = 0.05
    success_takes: float = 0.1
    at_once: int = 10
    per_second: float = 50.0
    circuit: Circuit = field(factory=Circuit)
    waiting: int = 0
    in_flight: int = 0
    completed: int = 0
    calls: list[float] = field(factory=list[float])
    ticks: count[int] = field(factory=count)
    agenda: list[tuple[float, int, Ended | str]] = field(factory=list[tuple[float, int, Ended | str]])

    def run(self, until: float) -> int:
        """Run until all operations that come before ``until`` are completed; their number."""
        accepted = int(until * self.per_second)
        for number in range(accepted):
            self.plan(number / self.per_second, "arrival")
        while self.agenda:
            now, _, event = heapq.heappop(self.agenda)
            if isinstance(event, Ended):
                self.finish(now, event)
            self.waiting += event == "arrival"
            self.start(now)
        return accepted

    def plan(self, at: float, event: Ended | str) -> None:
        heapq.heappush(self.agenda, (at, next(self.ticks), event))

    def fails(self, at: float) -> bool:
        return self.starts_at <= at < self.starts_at + self.failing_for

    def finish(self, now: float, call: Ended) -> None:
        ok = not self.fails(call.started_at)
        self.in_flight -= 1
        self.waiting += not ok
        self.completed += ok
        duration = now - call.started_at
        self.circuit = record(self.circuit, POLICY, now, ok=ok, duration=duration, probe=call.probe)

    def start(self, now: float) -> None:
        while self.waiting and self.in_flight < self.at_once:
            self.circuit, admission = admit(self.circuit, POLICY, now, self.in_flight)
            if isinstance(admission, Wait):
                if admission.until is not None:
                    self.plan(admission.until, "wake")
                return
            self.waiting -= 1
            self.in_flight += 1
            self.calls.append(now)
            takes = self.failure_takes if self.fails(now) else self.success_takes
            self.plan(now + takes, Ended(now, admission.probe))


@pytest.mark.parametrize("healthy_before", [0.0, 100.0])
@pytest.mark.parametrize(("failure_takes", "at_once"), [(0.001, 10), (0.05, 100), (1.0, 100), (25.0, 10), (25.0, 100)])
def test_case_60_an_outage_costs_few_calls_and_no_operation(
    healthy_before: float, failure_takes: float, at_once: int
) -> None:
    outage = Outage(healthy_before, failure_takes=failure_takes, at_once=at_once)
    accepted = outage.run(until=healthy_before + outage.failing_for + 100)
    calls = sum(outage.fails(at) for at in outage.calls)
    assert calls <= 0.05 * outage.failing_for * outage.per_second
    assert outage.completed == accepted
    assert outage.waiting == outage.in_flight == 0


@pytest.mark.parametrize("starts_at", [10.0, 170.0])
def test_case_61_recovery_is_one_probe_then_a_slow_start(starts_at: float) -> None:
    """Also where no operation comes after the outage that would wake anybody."""
    outage = Outage(starts_at=starts_at, at_once=100)
    assert outage.run(until=200.0) == outage.completed
    end = outage.starts_at + outage.failing_for
    probe, *following = [at for at in outage.calls if at >= end]
    assert probe - end <= POLICY.max_open_for
    rounds = [sum(begin < at - probe < begin + 0.09 for at in following) for begin in (0.0, 0.09, 0.19, 0.29)]
    assert rounds[:2] == [0, 1]
    assert rounds[2] <= 3
    assert rounds[3] <= 15
    assert sum(rounds) < len(following)
