"""When to try again: exponential backoff with full jitter, under a retry budget."""

from __future__ import annotations

from attrs import frozen

from ratesync.model.policy import RetryPolicy

_LARGEST_EXPONENT = 1000  # 2.0 ** 1024 overflows


def backoff(policy: RetryPolicy, attempt: int, fraction: float) -> float:
    """Seconds to wait after the ``attempt``-th attempt failed (the first is 1).

    Full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): uniform between 0 and
    ``min(max_delay, base_delay * 2 ** (attempt - 1))``. ``fraction`` is the random part, from 0 up to 1.
    """
    exponent = min(max(attempt - 1, 0), _LARGEST_EXPONENT)
    return fraction * min(policy.max_delay, policy.base_delay * 2.0**exponent)


@frozen
class RetryBudget:
    """What a lane may spend on retries, so that a failing provider does not get its load multiplied.

    A token bucket filled by first attempts, as in the gRPC retry throttle and Finagle's ``RetryBudget``. A new lane has
    ``RetryBudget(policy.budget_reserve)``.
    """

    tokens: float
    """Retries that can be paid for; one costs 1."""


def earn(budget: RetryBudget, policy: RetryPolicy) -> RetryBudget:
    """The budget after a first attempt: ``budget_ratio`` tokens more, up to ``budget_reserve``.

    One token can always be saved up, so that a reserve of 0 still allows the ratio.
    """
    most = max(policy.budget_reserve, 1.0)
    if budget.tokens >= most:
        return budget
    return RetryBudget(min(budget.tokens + policy.budget_ratio, most))


def spend(budget: RetryBudget) -> RetryBudget | None:
    """The budget after a retry; None if it cannot pay for one."""
    return RetryBudget(budget.tokens - 1.0) if budget.tokens >= 1.0 else None


def retry_delay(
    policy: RetryPolicy,
    attempt: int,
    retry_after: float | None,
    fraction: float,
    *,
    affordable: bool,
) -> float:
    """Seconds to wait before the next attempt, at most ``max_delay``.

    It is the backoff, but never less than the ``retry_after`` that the provider asked for. A retry that the budget
    cannot pay for waits ``max_delay``: it is put off, not given up.
    """
    if not affordable:
        return policy.max_delay
    delay = backoff(policy, attempt, fraction)
    if retry_after is not None and retry_after > delay:
        return min(retry_after, policy.max_delay)
    return delay
