"""The judge of the quota benchmark must be right, or its figures say nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._quota_windows import Judge, Rules, allowed, fairness, pace, verdict

T0 = 1_000.5
"""When the first call arrives; fixed windows of a second are half over then."""


def decisions(rules: Rules, *arrivals: float) -> list[bool]:
    judge = Judge(rules)
    return [judge.decide(T0 + at) for at in arrivals]


def run(rules: Rules, arrivals: list[float]) -> Judge:
    judge = Judge(rules)
    for at in arrivals:
        judge.decide(T0 + at)
    return judge


class TestSliding:
    RULES = Rules(limits=((2, 1.0),))

    def test_a_call_fits_again_when_the_window_has_passed_since_the_one_that_made_room(self) -> None:
        assert decisions(self.RULES, 0.0, 0.6, 0.75, 1.0, 1.5, 1.75) == [True, True, False, True, False, True]

    def test_refused_calls_are_not_counted(self) -> None:
        assert decisions(self.RULES, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.0) == [True, True, False, False, True, True, False]

    def test_every_window_must_have_room_and_none_changes_else(self) -> None:
        rules = Rules(limits=((2, 1.0), (3, 10.0)))
        assert decisions(rules, 0.0, 0.0, 0.5, 1.0, 1.0, 9.5, 10.0) == [True, True, False, True, False, False, True]

    @given(
        st.integers(1, 4),
        st.lists(st.integers(0, 12), max_size=60),
        st.booleans(),
    )
    def test_says_what_counting_anew_each_time_says(
        self, permits: int, pauses: list[int], counts_refused: bool
    ) -> None:
        rules = Rules(limits=((permits, 1.0),), counts_refused=counts_refused)
        judge, now, counted = Judge(rules), 0.0, list[float]()
        for pause in pauses:
            now += pause / 8  # exact in binary
            fits = sum(now - 1.0 < at for at in counted) < permits
            assert judge.decide(now) is fits
            if fits or counts_refused:
                counted.append(now)
        assert all(
            sum(at - 1.0 < earlier <= at for earlier in judge.accepted_at) <= permits for at in judge.accepted_at
        )


class TestAdversaries:
    def test_a_fixed_window_begins_at_multiples_of_its_length(self) -> None:
        rules = Rules(limits=((2, 1.0),), kind="fixed")
        assert decisions(rules, 0.25, 0.375, 0.4375, 0.5, 0.75, 1.25, 1.5) == [
            *(True, True, False),
            *(True, True, False),
            True,
        ]

    def test_refused_calls_that_count_keep_the_window_full(self) -> None:
        rules = Rules(limits=((1, 1.0),), counts_refused=True)
        assert decisions(rules, 0.0, 0.5, 1.0, 1.5, 2.5) == [True, False, False, False, True]

    def test_everything_is_refused_while_the_penalty_lasts_and_it_does_not_grow(self) -> None:
        rules = Rules(limits=((1, 1.0),), penalty=30.0)
        assert decisions(rules, 0.0, 0.5, 2.0, 30.0, 30.5) == [True, False, False, False, True]

    def test_a_refusal_tells_how_long_the_penalty_lasts(self) -> None:
        judge = run(Rules(limits=((1, 1.0),), penalty=30.0), [0.0, 0.5, 10.5])
        assert judge.retry_after(T0 + 10.5) == 20.0
        assert run(Rules(limits=((1, 1.0),)), [0.0, 0.5]).retry_after(T0 + 0.5) is None

    def test_the_limit_steps_at_its_times(self) -> None:
        rules = Rules(limits=((2, 1.0),), steps=((0.0, 2), (1.0, 1), (2.0, 3)))
        assert decisions(rules, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0) == [
            *(True, True),
            *(True, False),
            *(True, True, True, False),
        ]

    def test_a_quota_used_before_comes_free_half_a_window_after_the_first_call(self) -> None:
        rules = Rules(limits=((2, 1.0),), used_before=True)
        assert decisions(rules, 0.0, 0.25, 0.5, 0.5, 0.5) == [False, False, True, True, False]


class TestReadings:
    def test_what_is_left_and_when_the_next_call_leaves(self) -> None:
        [window] = run(Rules(limits=((3, 1.0),)), [0.0, 0.25]).windows
        assert window.remaining == 1
        assert window.reset_after(T0 + 0.25) == 0.75

    def test_a_fixed_window_ends_at_the_next_multiple(self) -> None:
        [window] = run(Rules(limits=((3, 1.0),), kind="fixed"), [0.0, 0.25]).windows
        assert window.remaining == 1
        assert window.reset_after(T0 + 0.25) == 0.25


class TestVerdict:
    RULES = Rules(limits=((2, 1.0),))

    def test_a_perfect_client_reaches_everything(self) -> None:
        found = verdict(run(self.RULES, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]), 3.0)
        assert (found.share, found.pace, found.accepted, found.refused, found.peak) == (100.0, 100.0, 6, 0, 2)

    def test_time_lost_in_each_window_shows_in_the_pace_though_not_in_the_share(self) -> None:
        found = verdict(run(self.RULES, [0.0, 0.0, 1.25, 1.25, 2.5, 2.5, 3.75]), 3.0)
        assert found.share == 100.0
        assert found.pace == pytest.approx(80.0)

    def test_calls_that_were_not_made_show_in_the_share(self) -> None:
        assert verdict(run(self.RULES, [0.0, 1.0, 2.0]), 3.0).share == 50.0

    def test_a_smooth_client_is_not_worse_than_a_bursting_one(self) -> None:
        assert verdict(run(self.RULES, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]), 3.0).pace == 100.0

    def test_refusals_and_most_arrivals_are_counted(self) -> None:
        found = verdict(run(self.RULES, [0.0, 0.0, 0.0, 0.5, 1.0]), 2.0, marked_at=T0 + 0.25)
        assert (found.refused, found.refused_later, found.peak) == (2, 1, 4)

    def test_several_limits_allow_what_the_strictest_does(self) -> None:
        assert allowed(Rules(limits=((100, 1.0), (190, 10.0))), 20.0) == 380

    def test_limits_that_step_allow_each_for_its_time(self) -> None:
        rules = Rules(limits=((100, 1.0),), steps=((0.0, 100), (20.0, 40), (40.0, 150)))
        assert allowed(rules, 60.0) == 2_000 + 800 + 3_000
        assert allowed(rules, 30.0) == 2_000 + 400

    def test_a_fixed_window_is_weighed_from_the_second_whole_one_on(self) -> None:
        rules = Rules(limits=((1, 1.0),), kind="fixed")
        found = verdict(run(rules, [0.0, 1.0, 2.0, 3.0, 4.0]), 5.0)
        assert (found.share, found.accepted) == (100.0, 3)

    def test_nothing_arrived(self) -> None:
        assert verdict(Judge(self.RULES), 3.0).share == 0.0

    def test_pace_is_of_the_limit_that_binds(self) -> None:
        assert pace(Rules(limits=((2, 1.0), (2, 10.0))), [0.0, 0.0, 10.0]) == 100.0


def test_fairness_is_one_for_equals_and_one_over_n_for_a_winner() -> None:
    assert fairness([3, 3, 3]) == 1.0
    assert fairness([9, 0, 0]) == pytest.approx(1 / 3)
    assert fairness([0, 0]) == 0.0
