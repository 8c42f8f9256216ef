"""The contract of an observer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ratesync.model.event import Event


@runtime_checkable
class Observer(Protocol):
    """Is told what happens; for logs, metrics and dashboards. Any callable with one argument will do.

    Called on the event loop (``LoopBlocked``: from a thread of its own), so it must be quick and must not wait. What it
    raises is logged and ignored. Events carry names, ids, counts and reasons; a reason may
    quote what the provider said. Fields and credentials are in none.
    """

    def __call__(self, event: Event, /) -> None:
        """Take note of one event."""
        ...
