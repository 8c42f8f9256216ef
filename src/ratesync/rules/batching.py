"""Which operations go out in one call, and when a call that could take more goes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_PASSES = 4
"""A call that is not full is passed over by at most so many others for each call that waits. Where what comes in is
spread evenly over the calls that wait, each is full after one pass for each of them."""
_SOON = 0.001
"""Seconds that are not worth a wait of their own: a call goes so much early rather than late."""
_MOST_SPARE = 4
"""Most calls' worth of a lane that is claimed beyond what can be called at the same time, so that calls fill."""


def group(steps: Sequence[T], label: Callable[[T], Hashable], most: Callable[[T], int]) -> list[list[T]]:
    """Split ``steps`` into batches of steps of the same ``label``, each of at most ``most`` of its first step.

    Labels come in the order of their first step, and the steps of a label keep their order.

    :raises ValueError: ``most`` of a step is below 1.
    """
    by_label: dict[Hashable, list[T]] = {}
    for step in steps:
        by_label.setdefault(label(step), []).append(step)
    batches: list[list[T]] = []
    for alike in by_label.values():
        size = most(alike[0])
        if size < 1:
            raise ValueError(f"a batch must have room for at least 1, not {size}")
        batches += [alike[start : start + size] for start in range(0, len(alike), size)]
    return batches


class Waiting(NamedTuple):
    """A call that waits for more operations to share it, or for room."""

    lacks: int
    """Operations that it could still take."""
    since: float
    """Instant at which the first of them was claimed."""
    passed_by: int
    """Calls that were begun since then, of all lanes."""
    priority: int = 0
    """The highest of its operations, of a full call: it has its turn before others that are full."""


class Departure(NamedTuple):
    """Which of a lane's waiting calls go now, and when to look again."""

    go: tuple[int, ...]
    """Their places in the list that was given, the most urgent first."""
    next_at: float
    """Instant at which another one goes for its age; infinity: only more work or the end of a call changes anything."""


def depart(
    calls: Sequence[Waiting],
    *,
    room: float,
    linger: float,
    more_follows: bool,
    in_line: int,
    now: float,
) -> Departure:
    """Decide which of one lane's waiting calls go now.

    A call goes when it is full; when it was passed over by many others; and else when it has waited for ``linger``
    seconds, unless more of its lane is about to be claimed.

    :param room: calls of the lane that may be begun now. What could not be called anyway waits, and fills meanwhile.
    :param more_follows: the queue has more of this lane at once.
    :param in_line: calls that wait for more, of all lanes.
    """
    overdue: list[int] = []
    ready: list[int] = []
    next_at = inf
    for place, call in enumerate(calls):
        if call.passed_by >= _PASSES * (in_line if call.lacks > 0 else len(calls)):
            overdue.append(place)
        elif call.lacks <= 0 or (call.since + linger <= now + _SOON and not more_follows):
            ready.append(place)
        elif not more_follows:
            next_at = min(next_at, call.since + linger)
    overdue.sort(key=lambda place: calls[place].since)
    ready.sort(key=lambda place: (calls[place].lacks, -calls[place].priority))
    urgent = overdue + ready
    if len(urgent) >= room:
        return Departure(tuple(urgent[: max(0, int(room))]), inf)
    return Departure(tuple(urgent), next_at)


def lane_bound(concurrency: int, size: int, waiting: int) -> int:
    """Most mailboxes of a lane to lease at a time.

    What could not be called anyway is not claimed, as it would only be given back. But ``waiting`` operations in calls
    that are not full do not count, up to a bound: more must be claimed to fill them.
    """
    return (concurrency + min(-(-waiting // size), _MOST_SPARE)) * size
