"""saq: lists and Lua, on redis-py.

Settings: 32 jobs at a time, no results kept (``ttl=-1``), no log line per job. Each job under way takes a connection,
so more of them make it slower. When a worker starts, its sweep may take a job that was just begun for a stuck one, and
then logs that this job is gone; the job was done all the same.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks._queue_job import Job, Submitter, Work, pooled

CONCURRENCY = 32
CALLERS = 20
"""As many as its queue lets through."""


def load() -> None:
    """Import it."""
    import_module("saq")
    logging.getLogger("saq").setLevel(logging.CRITICAL)


@asynccontextmanager
async def _queue(url: str) -> AsyncGenerator[Any]:
    saq: Any = import_module("saq")
    queue = saq.Queue.from_url(url)
    await queue.connect()
    yield queue
    await queue.disconnect()


@asynccontextmanager
async def submitter(url: str) -> AsyncGenerator[Submitter]:
    """A client, connected."""
    saq: Any = import_module("saq")
    async with _queue(url) as queue:

        async def one(job: Job) -> None:
            assert await queue.enqueue(saq.Job("deliver", kwargs=job.arguments(), ttl=-1))

        async def many(jobs: Sequence[Job]) -> None:
            await pooled(one, jobs, CALLERS)

        yield Submitter(one, many)


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    saq: Any = import_module("saq")

    async def deliver(context: object, *, number: int, at: float, **fields: object) -> None:  # noqa: ARG001
        await work.handle(number, at)

    async with _queue(url) as queue:
        functions = [("deliver", deliver)]
        await saq.Worker(queue, functions=functions, concurrency=work.concurrency or CONCURRENCY).start()


async def left(url: str) -> int:
    """Jobs that are not finished."""
    async with _queue(url) as queue:
        return int(await queue.count("incomplete"))
