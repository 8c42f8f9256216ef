"""Settings of an engine."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen
from attrs.validators import ge, gt, le

from ratesync.model.policy import CircuitPolicy, PayloadLimits, RetryPolicy
from ratesync.model.sync_settings import SyncSettings


class Role(StrEnum):
    """What an engine does."""

    FULL = "full"
    """Accepts operations and carries them out."""
    SUBMIT = "submit"
    """Accepts operations and leaves them to engines that work: for a web process."""
    WORK = "work"
    """Carries out what others submitted: for a worker process."""


@frozen(kw_only=True)
class Settings:
    """How an engine works. Every duration is in seconds."""

    max_calls: int = field(default=64, validator=ge(1))
    """The engine claims no more work while this many calls are under way. Default 64."""
    linger: float = field(default=0.0, validator=[ge(0), le(60)])
    """How long an operation may wait for others to share its call, where the adapter takes several in one. A call that
    is full goes at once. Default 0 s, as nobody should wait without having asked for it: calls are shared by what is
    there. At most 60 s."""
    call_timeout: float = field(default=60.0, validator=gt(0))
    """Total time for one call to a provider, whatever it does. Default 60 s."""
    grace: float = field(default=10.0, validator=ge(0))
    """How long calls under way may finish when the engine is left. Default 10 s."""
    retry: RetryPolicy = field(factory=RetryPolicy)
    """When an attempt is repeated, and when no more."""
    circuit: CircuitPolicy = field(factory=CircuitPolicy)
    """When a connection that fails is left alone."""
    limits: PayloadLimits = field(factory=PayloadLimits)
    """How large an operation may be."""
    sync: SyncSettings = field(factory=SyncSettings)
    """Of passes over bindings."""
    slow_transform_after: float = field(default=0.1, validator=gt(0))
    """Transforming one call's operations longer than this is reported. Default 0.1 s."""
    blocked_after: float = field(default=1.0, validator=gt(0))
    """An event loop that does not turn for this long while calls are under way is reported. Default 1 s."""
    max_block: float = field(default=60.0, validator=gt(0))
    """Leases are kept alive from a thread for this long while the event loop is blocked. Default 60 s."""
