"""Settings of two-way sync."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt


@frozen(kw_only=True)
class SyncSettings:
    """How passes work. Durations are seconds."""

    page_size: int = field(default=200, validator=ge(1))
    """Changes asked for at a time. Default 200."""
    chunk: int = field(default=100, validator=ge(1))
    """Marks worked on at a time. Default 100. The memory of a pass is bounded by it."""
    lease: float = field(default=300.0, validator=gt(0))
    """How long other engines leave a record alone after a step was begun on it. Default 300 s: should the engine die,
    another one waits so long before it takes the step over."""
    margin: float = field(default=90.0, validator=gt(0))
    """Least part of the lease that is left when a write is sent. Must be longer than a call can take. Default 90 s."""
    keep_runs: int = field(default=100, validator=ge(1))
    """Passes that are kept in the history of a binding. Default 100. Each takes up to a few kilobytes."""
    max_rounds: int = field(default=5, validator=ge(2))
    """How often a record is looked at in one pass, when others change it at the same time. Default 5."""
