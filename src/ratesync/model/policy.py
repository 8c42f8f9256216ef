"""Settings of the decisions in :mod:`ratesync.rules`. Durations are seconds, ratios are between 0 and 1."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, le

_ratio = [gt(0.0), le(1.0)]


@frozen(kw_only=True)
class PayloadLimits:
    """What a submitted operation may weigh."""

    max_bytes: int = field(default=1_048_576, validator=ge(1))
    """Largest encoded operation in bytes. Default 1 MiB."""
    max_depth: int = field(default=64, validator=[ge(1), le(200)])
    """Deepest nesting of lists and objects. Default 64; at most 200, so that no decoder runs out of stack."""


@frozen(kw_only=True)
class RetryPolicy:
    """When to try again, and when to stop.

    Delays follow exponential backoff with full jitter: uniform between 0 and ``min(max_delay, base_delay * 2**n)``.
    """

    max_attempts: int = field(default=10, validator=ge(1))
    """Counted attempts, the first included, before the operation becomes a dead letter. Default 10."""
    base_delay: float = field(default=1.0, validator=gt(0))
    """Upper end of the first delay. Default 1 s."""
    max_delay: float = field(default=300.0, validator=gt(0))
    """Upper end of every delay, also of what a provider asks for with Retry-After. Default 300 s."""
    untrusted_delay: float = field(default=600.0, validator=[gt(0), le(86_400)])
    """How long a connection is left alone after a TLS certificate or handshake failed, at most a day. Default 600 s."""
    max_lapses: int = field(default=3, validator=ge(1))
    """Lost leases without any outcome before the operation counts as poison and becomes a dead letter. Default 3."""
    budget_ratio: float = field(default=0.1, validator=_ratio)
    """Retries a lane may make for each first attempt. Beyond it they wait ``max_delay``; none is given up.
    Default 0.1."""
    budget_reserve: float = field(default=10.0, validator=ge(0))
    """Retries a lane may always have saved up. Default 10."""


@frozen(kw_only=True)
class CircuitPolicy:
    """When to stop calling a failing connection, and how to come back.

    While the circuit is open the work stays queued; nothing is given up.
    """

    window: float = field(default=30.0, validator=gt(0))
    """Length of the sliding window over which failures are counted. Default 30 s."""
    min_calls: int = field(default=10, validator=ge(1))
    """Calls in the window before the rate means anything. Default 10."""
    failure_rate: float = field(default=0.5, validator=_ratio)
    """Share of failed or slow calls that opens the circuit. Default 0.5."""
    slow_after: float = field(default=20.0, validator=gt(0))
    """A call longer than this counts as a failure. Default 20 s."""
    open_for: float = field(default=5.0, validator=gt(0))
    """Wait before the first probe; doubles with each failed probe. Default 5 s."""
    max_open_for: float = field(default=60.0, validator=gt(0))
    """Longest wait between two probes. Default 60 s."""
    slow_start_calls: int = field(default=16, validator=ge(1))
    """After the circuit closes, 1, 2, 4 ... calls at once are let through, until this many. Default 16."""
