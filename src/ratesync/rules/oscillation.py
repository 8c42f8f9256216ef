"""Whether a link is written again and again by us alone: two sides that rewrite each other's values without end."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen


@frozen
class OscillationPolicy:
    """How often a link may be written with no edit by anybody else in between."""

    max_writes: int = 5
    """Most writes of ours within ``per``."""
    per: float = 3600.0
    """Seconds."""


def is_oscillating(policy: OscillationPolicy, writes_at: Iterable[float], edited_at: float | None, now: float) -> bool:
    """Tell whether a link is to be held back, by the instants of our writes, in seconds.

    ``edited_at`` is when a side last held a version that was not ours; None if it never did. Only writes after it
    count: somebody who edits often may be followed as often.
    """
    start = now - policy.per
    counted = sum(1 for at in writes_at if at > start and (edited_at is None or at > edited_at))
    return counted > policy.max_writes
