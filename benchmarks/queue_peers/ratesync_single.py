"""ratesync with a provider that takes one operation in a call, as peers call a handler for each job."""

from __future__ import annotations

from benchmarks._queue_job import Work
from benchmarks.queue_peers import ratesync
from benchmarks.queue_peers.ratesync import left, load, submitter

__all__ = ["left", "load", "submitter", "work"]


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    await ratesync.work(url, work, batch=1)
