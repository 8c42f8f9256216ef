"""Laws of the estimate of a limit that nobody has told."""

from __future__ import annotations

import math

import attrs
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.estimate import (
    FIRST_REST,
    FIRST_WAIT,
    GROWTH,
    LARGEST_STEP,
    LONG,
    LONGEST_REST,
    WAIT,
    Estimate,
    Refused,
    cut,
    next_step,
    probe,
    prove,
)

START = 1_700_000_000.0

REFUSED = st.builds(
    Refused,
    cost=st.integers(0, 20),
    granted_at=st.integers(0, 200).map(lambda tick: START + tick / 8),
    used=st.integers(0, 2_000),
    accepted=st.integers(0, 10_000),
    floor=st.integers(1, 20),
)
STEP = st.tuples(st.integers(0, 100).map(lambda tick: tick / 8), st.sampled_from(["prove", "probe"]) | REFUSED)


def steps(
    moves: list[tuple[float, str | Refused]], per: float
) -> list[tuple[Estimate, str | Refused, Estimate, float]]:
    """What happened, with the estimate before and after, and the instant. Impossible moves are left out."""
    taken: list[tuple[Estimate, str | Refused, Estimate, float]] = []
    estimate, now = Estimate(), START
    for later, move in moves:
        now += later
        before = estimate
        if isinstance(move, Refused):
            estimate = cut(estimate, move, per, now)
        elif move == "prove" and not estimate.is_proven:
            estimate = prove(estimate, now)
        elif move == "probe" and estimate.is_proven and estimate.target is not None and now >= estimate.probe_at:
            estimate = probe(estimate, 1, per, now)
        if estimate is not before:
            taken.append((before, move, estimate, now))
    return taken


def measured(used: int, now: float = START) -> Estimate:
    """After the first refusal, and an accepted call."""
    return prove(cut(Estimate(), Refused(1, now, used, used), 1.0, now), now)


@given(st.lists(STEP, max_size=60), st.sampled_from([0.5, 1.0, 10.0, 120.0]))
def test_the_target_never_falls_below_the_floor_nor_rises_by_a_refusal(
    moves: list[tuple[float, str | Refused]], per: float
) -> None:
    least = math.inf
    for before, move, after, now in steps(moves, per):
        assert after.target is not None
        assert after.step >= 0
        assert after.version == before.version + 1
        assert after.probe_at >= before.raised_at
        assert after.rest <= max(per, LONGEST_REST)
        assert after.resume_at <= now + after.rest
        if isinstance(move, Refused):
            least = min(least, move.floor)
            if before.limit is not None:
                assert after.target <= max(before.limit, move.floor)
        assert after.target >= least


@given(st.lists(STEP, max_size=60))
def test_equal_steps_give_equal_estimates_of_plain_numbers(moves: list[tuple[float, str | Refused]]) -> None:
    taken = steps(moves, 1.0)
    assert taken == steps(moves, 1.0)
    for _, _, after, _ in taken:
        values = attrs.astuple(after)
        assert all(isinstance(value, bool | int | float) for value in values)
        assert Estimate(*values) == after


@given(st.integers(1, 1_000), st.integers(1, 1_000))
def test_what_was_accepted_is_the_target_and_more_gives_no_lower_one(used: int, more: int) -> None:
    assert measured(used).target == used
    again = [cut(measured(500), Refused(1, START + 1, it, 0), 1.0, START + 1).target or 0 for it in (used, used + more)]
    assert again[0] <= again[1] <= 500


def test_calls_that_were_under_way_are_taken_off_as_they_come_back_refused() -> None:
    estimate = cut(Estimate(), Refused(1, START, 100, 70), 1.0, START + 1)
    for _ in range(30):
        estimate = cut(estimate, Refused(1, START, 100, 70), 1.0, START + 1)
    assert estimate.target == 70
    assert estimate.resume_at == -math.inf, "they are one refusal"
    assert estimate.cut_at == START + 1


def test_an_old_call_takes_off_no_more_than_its_cost_after_a_raise() -> None:
    estimate = measured(10, START + 1)
    for tick in range(12):
        estimate = probe(estimate, 1, 0.0, START + 2 + tick)
    target = estimate.target or 0
    assert target > 100
    assert cut(estimate, Refused(1, START, 0, 0), 1.0, START + 20).target == target - 1


def test_rests_double_while_everything_is_refused_and_the_target_stays() -> None:
    estimate, now = cut(Estimate(), Refused(1, START, 100, 100), 1.0, START), START
    rests: list[float] = []
    for _ in range(12):
        now += 1
        estimate = cut(estimate, Refused(1, now, 0, 0), 1.0, now)
        rests.append(estimate.resume_at - now)
        assert estimate.target == 100
    assert rests[:4] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST, 8 * FIRST_REST]
    assert rests[-1] == LONGEST_REST


def test_a_lockout_begins_with_the_rest_that_ended_the_last_one() -> None:
    estimate = cut(Estimate(), Refused(1, START, 100, 100), 1.0, START)
    for second in (1, 2, 3):
        estimate = cut(estimate, Refused(1, START + second, 0, 0), 1.0, START + second)
    estimate = prove(estimate, START + 5)
    estimate = cut(estimate, Refused(1, START + 99, 100, 9_000), 1.0, START + 100)
    assert cut(estimate, Refused(1, START + 101, 0, 0), 1.0, START + 101).rest == 4 * FIRST_REST
    assert prove(estimate, START + 101).rest == 2 * FIRST_REST


def test_steps_grow_until_they_are_half_of_the_target() -> None:
    estimate = measured(100)
    added: list[int] = []
    for _ in range(7):
        estimate = probe(estimate, 1, 0.0, START + 2)
        added.append(estimate.step)
    assert added[:4] == [1, GROWTH, GROWTH**2, GROWTH**3]
    assert added[-1] == int((estimate.target or 0) * LARGEST_STEP)


@given(st.integers(1, 1_000), st.integers(1, 50))
def test_a_step_has_room_for_the_call_that_is_the_probe(target: int, cost: int) -> None:
    assert next_step(measured(target), cost) >= cost


def test_a_failed_probe_goes_back_to_what_was_accepted_and_waits() -> None:
    estimate = probe(measured(100), 1, 0.0, START + 2)
    failed = cut(estimate, Refused(1, START + 2, 100, 200), 1.0, START + 2.5)
    assert (failed.target, failed.step, failed.probe_at) == (100, 0, START + 2.5 + WAIT)
    surprised = cut(measured(100), Refused(1, START + 2, 60, 200), 1.0, START + 2.5)
    assert (surprised.target, surprised.probe_at) == (60, START + 2.5 + FIRST_WAIT)


def locked_out(estimate: Estimate, now: float, seconds: float) -> Estimate:
    """After a refusal, nothing but refusals for so long."""
    estimate = cut(estimate, Refused(1, now, 100, 100), 1.0, now)
    estimate = cut(estimate, Refused(1, now + 1, 0, 0), 1.0, now + 1)
    return prove(estimate, now + seconds)


def test_who_was_locked_out_by_a_probe_probes_seldom() -> None:
    by_surprise = locked_out(measured(100), START + 10, 30)
    assert by_surprise.probe_at == START + 40 + FIRST_WAIT
    by_probe = locked_out(probe(measured(100), 1, 0.0, START + 10), START + 10, 30)
    assert by_probe.probe_at == START + 40 + 600


def test_a_lockout_that_comes_again_soon_gives_the_average() -> None:
    estimate = locked_out(Estimate(), START, 15)
    assert estimate.target == 100
    again = cut(estimate, Refused(1, START + 16, 40, 100), 1.0, START + 20)
    assert (again.target, again.memory) == (5, 15)
    assert cut(estimate, Refused(1, START + 30, 40, 100), 1.0, START + 30).memory == 0, "long after"
    assert cut(probe(estimate, 1, 0, START + 17), Refused(1, START + 17, 99, 100), 1.0, START + 20).memory == 0
    brief = locked_out(Estimate(), START, LONG)
    assert cut(brief, Refused(1, START + 4, 40, 100), 1.0, START + 4).memory == 0


def test_a_step_is_kept_for_as_long_as_the_provider_remembers_and_undone_if_it_fails() -> None:
    again = cut(locked_out(Estimate(), START, 15), Refused(1, START + 16, 40, 100), 1.0, START + 20)
    tried = probe(prove(again, START + 21), 1, 1.0, START + 40)
    assert tried.probe_at == START + 40 + 15
    tried = probe(tried, 1, 1.0, START + 55)
    assert (tried.target, tried.limit) == (6, 9)
    assert cut(tried, Refused(1, START + 60, 8, 90), 1.0, START + 60).target == 6
