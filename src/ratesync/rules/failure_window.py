"""Counting failed calls over a sliding window of ten buckets."""

from __future__ import annotations

from typing import NamedTuple

BUCKETS = 10


class Bucket(NamedTuple):
    """Calls that ended within one tenth of the window."""

    slot: float
    """Number of the tenth since the epoch."""
    calls: int
    failures: int


Buckets = tuple[Bucket, ...]
"""Oldest first, at most :data:`BUCKETS`; tenths without a call have none."""


def count(buckets: Buckets, window: float, now: float, *, failed: bool) -> Buckets:
    """The buckets after one more call that ended ``now``. ``window`` is in seconds."""
    slot = now * BUCKETS // window
    if buckets and buckets[-1].slot >= slot:
        newest = buckets[-1]
        return (*buckets[:-1], Bucket(newest.slot, newest.calls + 1, newest.failures + failed))
    return (*within(buckets, window, now), Bucket(slot, 1, int(failed)))


def within(buckets: Buckets, window: float, now: float) -> Buckets:
    """The buckets that the window up to ``now`` still covers."""
    oldest = now * BUCKETS // window - BUCKETS
    return tuple(bucket for bucket in buckets if bucket.slot > oldest)
