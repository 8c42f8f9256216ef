"""Weighted fair choice among lanes.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996). Each lane has a virtual time: how
much it was served, divided by its weight. The ready lane with the lowest virtual time is served next, and its virtual
time before that service is the current virtual time of the queue. Among lanes that are always ready, service divided
by weight then never differs by more than one batch of either.
"""

from __future__ import annotations


def join(own: float, current: float) -> float:
    """The virtual time of a lane that becomes ready again after it had nothing to do, or that is new (``own`` 0).

    It keeps what it owes but saves nothing up while it is idle: it starts at the queue's ``current`` virtual time, so
    it waits for at most one batch of each other lane and cannot push them aside for longer.
    """
    return max(own, current)


def charge(own: float, amount: int, weight: float) -> float:
    """The virtual time of a lane after ``amount`` operations of it were served. ``weight`` is above 0."""
    return own + amount / weight
