"""arq: a sorted set that is polled, on redis-py.

Settings: polled every 10 ms instead of every 500, 100 jobs at a time, JSON instead of pickle, no results kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks._queue_job import Job, Submitter, Work, pooled

CONCURRENCY = 100
CALLERS = 50
POLL = 0.01


def load() -> None:
    """Import it."""
    import_module("arq.worker")
    logging.getLogger("arq").setLevel(logging.ERROR)


def _packed(value: object) -> bytes:
    return json.dumps(value).encode()


@asynccontextmanager
async def _pool(url: str) -> AsyncGenerator[Any]:
    connections: Any = import_module("arq.connections")
    settings = connections.RedisSettings.from_dsn(url)
    pool = await connections.create_pool(settings, job_serializer=_packed, job_deserializer=json.loads)
    yield pool
    await pool.aclose()


@asynccontextmanager
async def submitter(url: str) -> AsyncGenerator[Submitter]:
    """A client, connected."""
    async with _pool(url) as pool:

        async def one(job: Job) -> None:
            assert await pool.enqueue_job("deliver", **job.arguments())

        async def many(jobs: Sequence[Job]) -> None:
            await pooled(one, jobs, CALLERS)

        yield Submitter(one, many)


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    worker: Any = import_module("arq.worker")

    async def deliver(context: object, *, number: int, at: float, **fields: object) -> None:  # noqa: ARG001
        await work.handle(number, at)

    async with _pool(url) as pool:
        running = worker.Worker(
            [worker.func(deliver, name="deliver", keep_result=0)],
            redis_pool=pool,
            max_jobs=work.concurrency or CONCURRENCY,
            poll_delay=POLL,
            keep_result=0,
            handle_signals=False,
            log_results=False,
            job_serializer=_packed,
            job_deserializer=json.loads,
        )
        await running.async_run()


async def left(url: str) -> int:
    """Jobs that are queued or under way: they leave the set when they are finished."""
    async with _pool(url) as pool:
        return int(await pool.zcard("arq:queue"))
