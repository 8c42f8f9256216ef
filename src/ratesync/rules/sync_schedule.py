"""When a sync that runs on and on makes its next pass."""

from __future__ import annotations

from ratesync.model.policy import RetryPolicy
from ratesync.rules.retry import backoff

JITTER = 0.1
"""Part of the interval by which a pass may come earlier or later, so that many bindings do not pull all at once."""


def next_pull(now: float, every: float, fraction: float) -> float:
    """The instant of the next pull: after ``every`` seconds, give or take a tenth. ``fraction`` is random, 0 to 1."""
    return now + every * (1.0 + JITTER * (2.0 * fraction - 1.0))


def back_off(policy: RetryPolicy, failures: int, retry_after: float | None, fraction: float) -> float:
    """Seconds to leave a binding alone after as many failed passes in a row, at most ``policy.max_delay``.

    At least half of the exponential backoff: a pass is not one call but many. And never less than a side asked for.
    """
    delay = backoff(policy, failures, 0.5 + fraction / 2)
    return delay if retry_after is None else min(max(delay, retry_after), policy.max_delay)
