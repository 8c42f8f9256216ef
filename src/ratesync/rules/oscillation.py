"""Whether a link is written again and again by us alone: two sides that rewrite each other's values without end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from attrs import field, frozen
from attrs.validators import ge, gt


@frozen
class OscillationPolicy:
    """How often the same record may be written to."""

    max_writes: int = field(default=5, validator=ge(1))
    """Most writes of the same values within ``per``. Default 5."""
    max_turns: int = field(default=20, validator=ge(1))
    """How often within ``per`` one side's change may be carried to the other after one that went the other way.
    Default 20."""
    per: float = field(default=3600.0, validator=gt(0))
    """Seconds. Default an hour."""


Written = tuple[float, str, str]
"""The instant of a write, a digest of what was written, and to which sides: see :func:`note_write`."""

BOTH = "both"
"""A write to both sides at once."""


def note_write(
    policy: OscillationPolicy, writes: Iterable[Written], what: str, to: str, now: float
) -> tuple[Written, ...] | None:
    """The latest writes with one more; None if it must not be made, as the two sides only answer each other.

    What counts is what is written, not what is read: a side that rewrites our values, each time under a new version,
    looks like somebody who edits. But then we write the same values again, and who edits makes us write others. Two
    sides that each stamp a value of their own on what they are given make us write others, too. But then the writes go
    back and forth between them, and what one side's people and machines edit, however often, goes one way. A few writes
    are remembered, enough for both.

    :param what: a digest of what is written.
    :param to: the side that is written, or :data:`BOTH`.
    """
    recent = [write for write in writes if write[0] > now - policy.per]
    if sum(what == earlier for _, earlier, _ in recent) >= policy.max_writes:
        return None
    new = [*recent, (now, what, to)]
    if _turns(new) > policy.max_turns:
        return None
    return tuple(new[-max(2 * policy.max_writes, policy.max_turns + 1) :])


def _turns(writes: Sequence[Written]) -> int:
    """How many of the writes may answer what the one before has brought about."""
    return sum(BOTH in {before, after} or before != after for (_, _, before), (_, _, after) in pairwise(writes))
