"""Priority is time: a higher priority makes an operation look older than it is."""

from __future__ import annotations

PRIORITY_STEP = 60.0
"""Seconds of waiting that one step of priority is worth."""


def score(enqueued_at: float, priority: int, step: float) -> float:
    """The place of an operation in its lane: the lowest score goes first. In seconds since the epoch.

    Nothing starves: an operation goes before every one that is ``n`` priorities higher and came more than
    ``n * step`` seconds later. The score never changes, so a queue can keep its items sorted by it.
    """
    return enqueued_at - priority * step
