"""Laws of the window of a limit that nobody has told."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import Reading
from ratesync.rules.adaptive import KEPT_FOR, AdaptiveWindow
from ratesync.rules.estimate import WAIT
from ratesync.rules.window import EXACT_PERMITS, SUB_WINDOWS

START = 1_700_000_000.0


def call(meter: AdaptiveWindow, now: float, *, refused: bool = False, cost: int = 1, lasting: float = 0.0) -> None:
    assert meter.take(cost, now)
    meter.settle(cost, cost, now, now + lasting)
    if refused:
        meter.refuse(now, now + lasting, is_sure=False)


def limited(permits: int) -> AdaptiveWindow:
    """A window whose limit was found at START, and a call was accepted a second later."""
    meter = AdaptiveWindow(1.0)
    for _ in range(permits):
        call(meter, START)
    call(meter, START, refused=True)
    call(meter, START + 1)
    assert meter.free_at(1, START + 1) == START + 1
    assert meter.limit == permits
    return meter


def test_there_is_no_limit_before_the_first_refusal() -> None:
    meter = AdaptiveWindow(1.0)
    assert all(meter.take(cost, START) for cost in range(1, 1_000))
    assert meter.limit is None
    assert meter.free_at(1_000, START) == meter.earliest_at(1_000, START) == START


def test_readings_change_nothing() -> None:
    meter = limited(5)
    before = meter.estimate
    meter.learn(Reading(limit=1, remaining=0), START + 1, START + 1)
    assert meter.estimate == before


def test_few_ends_are_kept_however_many_calls_are_made() -> None:
    meter = AdaptiveWindow(64.0)
    for tick in range(10 * EXACT_PERMITS):
        call(meter, START + tick / 100)
    assert len(meter.window.ends) <= EXACT_PERMITS + SUB_WINDOWS + 1
    assert 6_400 <= meter.used(START + 200) <= 6_500
    meter.refuse(START + 200, START + 200, is_sure=False)
    assert meter.window.grain == 1.0, "the limit is above what is counted exactly"


def test_a_refused_burst_is_one_refusal() -> None:
    meter = AdaptiveWindow(1.0)
    assert all(meter.take(1, START) for _ in range(50))
    for number in range(50):
        meter.settle(1, 1, START, START + 0.01)
        if number % 5 == 0:
            meter.refuse(START, START + 0.01, is_sure=False)
    assert meter.limit == 40
    assert meter.estimate.resume_at == -math.inf


def test_after_a_cut_calls_go_one_at_a_time_until_one_is_accepted() -> None:
    meter = limited(5)
    call(meter, START + 1, refused=True)
    assert not meter.take(1, START + 1)
    assert meter.take(1, START + 2.5)
    assert not meter.take(1, START + 2.5)
    assert meter.free_at(1, START + 2.5) == math.inf
    meter.settle(1, 1, START + 2.5, START + 2.6)
    meter.refuse(START + 2.5, START + 2.6, is_sure=False)
    resume_at = meter.estimate.resume_at
    assert START + 2.6 < resume_at <= meter.earliest_at(1, START + 2.6)
    free_at = meter.free_at(1, START + 2.6)
    assert not meter.take(1, free_at - 0.01)
    assert meter.take(1, free_at)
    meter.refund(1)
    assert meter.take(1, free_at)


def test_a_full_window_is_exceeded_by_a_step_when_a_probe_is_due() -> None:
    meter = limited(3)
    for _ in range(2):
        call(meter, START + 1)
    assert not meter.take(1, START + 1)
    due_at = START + 2.5  # two seconds after the cut, and there is room before
    for tick in range(3):
        call(meter, due_at + tick / 100)
    assert meter.take(1, due_at + 0.1)
    assert meter.limit == 4
    assert not meter.take(1, due_at + 0.2), "the probe is under way"
    assert meter.earliest_at(1, due_at + 0.2) < meter.free_at(1, due_at + 0.2)
    meter.settle(1, 1, due_at + 0.1, due_at + 0.3)
    assert not meter.take(1, due_at + 0.4), "the step has to hold for a while"


def test_a_failed_probe_costs_one_call() -> None:
    meter = limited(3)
    for tick in range(3):
        call(meter, START + 2.5 + tick / 100)
    call(meter, START + 2.6, refused=True)
    assert meter.limit == 3
    assert meter.estimate.probe_at == START + 2.6 + WAIT


def test_a_probe_waits_while_more_is_used_than_the_target_and_a_step() -> None:
    meter = AdaptiveWindow(10.0)
    for _ in range(10):
        call(meter, START)
    assert meter.take(5, START), "it takes long and is refused in the end"
    call(meter, START + 0.5, refused=True)
    for _ in range(10):
        call(meter, START + 11)
    meter.settle(5, 5, START, START + 12)
    meter.refuse(START, START + 12, is_sure=False)
    assert (meter.limit, meter.used(START + 12)) == (10, 15)
    assert meter.estimate.probe_at < START + 12
    assert not meter.take(1, START + 12)
    assert meter.free_at(1, START + 12) == START + 21


def test_a_call_that_costs_more_than_the_target_can_still_be_made() -> None:
    meter = AdaptiveWindow(1.0)
    call(meter, START, cost=7)
    call(meter, START + 5, refused=True)
    assert meter.limit == 7


def test_an_estimate_is_remembered_for_a_while() -> None:
    meter = AdaptiveWindow(1.0)
    assert meter.is_idle(START)
    call(meter, START)
    assert not meter.is_idle(START + 0.5)
    assert meter.is_idle(START + 1)
    call(meter, START + 1, refused=True)
    assert not meter.is_idle(START + KEPT_FOR)
    assert meter.is_idle(START + 1 + KEPT_FOR)


MOVE = st.tuples(
    st.sampled_from(["take", "take", "take", "end", "end", "refused", "refund", "wait"]),
    st.integers(0, 40),
    st.integers(1, 3),
)


def play(meter: AdaptiveWindow, moves: list[tuple[str, int, int]]) -> list[object]:
    """Checks the laws at each move; returns all answers."""
    answers: list[object] = []
    under_way: list[tuple[float, int]] = []
    now = START
    for move, number, cost in moves:
        if move == "wait":
            now += number / 8
        elif move == "take":
            wanted = cost if meter.limit is None else min(cost, meter.limit)
            free_at, earliest_at = meter.free_at(wanted, now), meter.earliest_at(wanted, now)
            assert now <= earliest_at <= free_at
            if number % 2 and now < free_at < math.inf:
                assert not meter.take(wanted, math.nextafter(free_at, 0))
                now = free_at
            is_taken = meter.take(wanted, now)
            assert is_taken == (now >= free_at)
            if is_taken:
                under_way.append((now, wanted))
                assert meter.limit is None or meter.used(now) <= meter.limit
        elif under_way:
            granted_at, wanted = under_way.pop(number % len(under_way))
            if move == "refund":
                meter.refund(wanted)
            else:
                now += 1 / 64
                meter.settle(wanted, wanted, granted_at, now)
                if move == "refused":
                    meter.refuse(granted_at, now, is_sure=False)
        limit = meter.limit
        assert limit is None or limit >= meter.floor
        assert meter.used(now) >= sum(wanted for _, wanted in under_way)
        answers.append((now, limit, meter.used(now), meter.estimate))
    return answers


@given(st.lists(MOVE, max_size=150), st.sampled_from([1.0, 4.0]))
def test_what_is_free_can_be_taken_and_nothing_else(moves: list[tuple[str, int, int]], per: float) -> None:
    answers = play(AdaptiveWindow(per), moves)
    assert answers == play(AdaptiveWindow(per), moves)
