"""From numbers that a provider tells to readings that make sense."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from ratesync.model.feedback import Reading

MOST_READINGS = 16
"""More of them in one answer are no quotas."""


def make_reading(
    *,
    limit: int | None = None,
    remaining: int | None = None,
    reset_after: float | None = None,
    per: float | None = None,
) -> Reading | None:
    """The reading; None if the numbers tell nothing of a quota.

    A limit of 0 or less stands for "none" where servers send it. Less than nothing remaining is nothing, more than the
    limit is the limit.
    """
    if limit is None and (remaining is None or remaining < 0):
        return None
    if limit is not None and limit <= 0:
        return None
    if remaining is not None:
        remaining = max(remaining, 0) if limit is None else min(max(remaining, 0), limit)
    return Reading(
        limit=limit, remaining=remaining, reset_after=reset_after, per=float(per) if per and per > 0 else None
    )


def merge_readings(readings: Iterable[Reading | None]) -> tuple[Reading, ...]:
    """The readings, each quota once: servers tell of one and the same in several dialects.

    Readings of equal numbers are of one quota unless they name different windows.
    """
    merged: list[Reading] = []
    for reading in readings:
        if reading is None:
            continue
        place = next((place for place, other in enumerate(merged) if _is_same(reading, other)), None)
        if place is not None:
            merged[place] = _merge(merged[place], reading)
        elif len(merged) < MOST_READINGS:
            merged.append(reading)
    return tuple(merged)


def replace_readings(earlier: Iterable[Reading], later: Iterable[Reading]) -> tuple[Reading, ...]:
    """The readings of both; of those with the same limit and window, the later one."""
    by_quota = {(reading.limit, reading.per): reading for reading in (*earlier, *later)}
    return tuple(by_quota.values())[:MOST_READINGS]


def _is_same(one: Reading, other: Reading) -> bool:
    return (one.limit, one.remaining) == (other.limit, other.remaining) and (
        one.per == other.per or one.per is None or other.per is None
    )


def _merge(one: Reading, other: Reading) -> Reading:
    resets = [reading.reset_after for reading in (one, other) if reading.reset_after is not None]
    return evolve(one, per=one.per or other.per, reset_after=max(resets, default=None))
