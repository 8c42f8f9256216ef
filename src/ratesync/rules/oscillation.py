"""Whether a link is written again and again by us alone: two sides that rewrite each other's values without end."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen
from attrs.validators import ge, gt


@frozen
class OscillationPolicy:
    """How often the same may be written to the same record."""

    max_writes: int = field(default=5, validator=ge(1))
    """Most writes of the same values within ``per``. Default 5."""
    per: float = field(default=3600.0, validator=gt(0))
    """Seconds. Default an hour."""


Written = tuple[float, str]
"""The instant of a write, and a digest of what was written to which side."""


def note_write(
    policy: OscillationPolicy, writes: Iterable[Written], what: str, now: float
) -> tuple[Written, ...] | None:
    """The latest writes with one more; None if it must not be made, as the same was written too often.

    What counts is what is written, not what is read: a side that rewrites our values, each time under a new version,
    looks like somebody who edits. But then we write the same values again, and who edits makes us write others. A few
    writes are remembered, enough for values that go back and forth.
    """
    recent = [write for write in writes if write[0] > now - policy.per]
    if sum(what == earlier for _, earlier in recent) >= policy.max_writes:
        return None
    return (*recent, (now, what))[-2 * policy.max_writes :]
