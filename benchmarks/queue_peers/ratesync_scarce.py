"""ratesync where the provider lets four calls through at a time, over all workers: permits are in Redis, too."""

from __future__ import annotations

import anyio

from benchmarks._queue_job import Work
from benchmarks.queue_peers.ratesync import Provider, engine, left, load, submitter
from ratesync import Capabilities
from ratesync.redis import RedisLimiter

__all__ = ["AT_ONCE", "left", "load", "submitter", "work"]

AT_ONCE = 4


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    provider = Provider(work.handle, Capabilities(concurrency=AT_ONCE))
    async with engine(url, "work", provider, limiter=RedisLimiter(url, cold_start=False)):
        await anyio.sleep_forever()
