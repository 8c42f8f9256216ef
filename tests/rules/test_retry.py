from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.policy import RetryPolicy
from ratesync.rules.retry import RetryBudget, backoff, earn, retry_delay, spend

seconds = st.floats(0.001, 1e6)
policies = st.builds(
    RetryPolicy,
    base_delay=seconds,
    max_delay=seconds,
    budget_ratio=st.floats(0.01, 1),
    budget_reserve=st.floats(0, 50),
)
attempts = st.integers(1, 10_000)
fractions = st.floats(0, 1, exclude_max=True)
wishes = st.none() | st.floats(allow_nan=True, allow_infinity=True)
ROUNDING = 1e-6


def test_the_upper_end_doubles_from_the_base_to_the_maximum() -> None:
    policy = RetryPolicy(base_delay=1.0, max_delay=10.0)
    assert [backoff(policy, attempt, 1.0) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(policies, attempts, fractions)
def test_the_delay_is_a_fraction_of_its_upper_end(policy: RetryPolicy, attempt: int, fraction: float) -> None:
    exact = min(Fraction(policy.max_delay), Fraction(policy.base_delay) * 2 ** (attempt - 1))
    assert math.isclose(backoff(policy, attempt, fraction), float(exact * Fraction(fraction)), abs_tol=1e-300)


@given(policies, attempts)
def test_jitter_is_full(policy: RetryPolicy, attempt: int) -> None:
    upper = backoff(policy, attempt, 1.0)
    assert backoff(policy, attempt, 0.0) == 0.0
    assert backoff(policy, attempt, 0.5) == upper / 2
    assert upper <= policy.max_delay


def test_an_attempt_that_was_not_counted_waits_like_the_first() -> None:
    assert backoff(RetryPolicy(), 0, 1.0) == backoff(RetryPolicy(), 1, 1.0)


def test_a_huge_number_of_attempts_does_not_overflow() -> None:
    assert backoff(RetryPolicy(base_delay=1e300), 10_000, 0.5) == RetryPolicy().max_delay / 2


@given(policies, attempts, wishes, fractions, st.booleans())
def test_a_delay_keeps_within_its_bounds(
    policy: RetryPolicy, attempt: int, retry_after: float | None, fraction: float, affordable: bool
) -> None:
    delay = retry_delay(policy, attempt, retry_after, fraction, affordable=affordable)
    assert 0.0 <= delay <= policy.max_delay


@given(policies, attempts, st.floats(0, 2e6), fractions)
def test_what_the_provider_asked_for_is_the_least(
    policy: RetryPolicy, attempt: int, retry_after: float, fraction: float
) -> None:
    delay = retry_delay(policy, attempt, retry_after, fraction, affordable=True)
    assert delay == max(backoff(policy, attempt, fraction), min(retry_after, policy.max_delay))


@pytest.mark.parametrize("retry_after", [None, math.nan, -1.0, 0.0])
def test_a_wish_that_says_nothing_leaves_the_backoff(retry_after: float | None) -> None:
    assert retry_delay(RetryPolicy(), 3, retry_after, 0.5, affordable=True) == backoff(RetryPolicy(), 3, 0.5)


@given(policies, attempts, wishes, fractions)
def test_what_cannot_be_afforded_waits_longest(
    policy: RetryPolicy, attempt: int, retry_after: float | None, fraction: float
) -> None:
    assert retry_delay(policy, attempt, retry_after, fraction, affordable=False) == policy.max_delay


@given(policies, st.lists(st.booleans(), max_size=300))
def test_retries_never_exceed_the_reserve_and_the_ratio(policy: RetryPolicy, first_attempts: list[bool]) -> None:
    budget = RetryBudget(policy.budget_reserve)
    retries = 0
    for is_first in first_attempts:
        paid = None if is_first else spend(budget)
        retries += paid is not None
        budget = earn(budget, policy) if is_first else paid or budget
        assert 0.0 <= budget.tokens <= max(1.0, policy.budget_reserve)
    assert retries <= policy.budget_reserve + policy.budget_ratio * sum(first_attempts) + ROUNDING


@given(policies)
def test_enough_first_attempts_always_pay_for_a_retry(policy: RetryPolicy) -> None:
    budget = RetryBudget(0.0)
    assert spend(budget) is None
    for _ in range(math.ceil(1 / policy.budget_ratio) + 1):
        budget = earn(budget, policy)
    assert spend(budget) is not None


def test_an_unused_budget_is_not_saved_up_beyond_the_reserve() -> None:
    policy = RetryPolicy(budget_ratio=0.5, budget_reserve=2.25)
    budgets = [RetryBudget(1.0)]
    for _ in range(5):
        budgets.append(earn(budgets[-1], policy))
    assert [budget.tokens for budget in budgets] == [1.0, 1.5, 2.0, 2.25, 2.25, 2.25]


def test_a_failing_provider_is_not_multiplied() -> None:
    """A lane whose every attempt fails: 10 % more calls, not ten times as many."""
    policy = RetryPolicy()
    budget = RetryBudget(policy.budget_reserve)
    calls = 0
    for _ in range(6_000):
        budget = earn(budget, policy)
        calls += 1
        for _ in range(policy.max_attempts - 1):
            paid = spend(budget)
            if paid is not None:
                budget = paid
                calls += 1
    assert calls <= 1.1 * 6_000 + policy.budget_reserve
