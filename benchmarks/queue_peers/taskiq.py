"""taskiq with taskiq-redis: a stream with a consumer group, which acknowledges.

Settings: no result backend, 100 tasks at a time and 100 fetched ahead (``max_prefetch``), no check of parameters,
``xread_count`` 100, its default. Its list broker is a little faster and loses what a killed worker held. The versions
are the newest that go with arq's redis-py.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks._queue_job import Job, Submitter, Work, pooled

CONCURRENCY = 100
CALLERS = 50


def load() -> None:
    """Import it."""
    import_module("taskiq.api")
    import_module("taskiq_redis")


def _broker(url: str, work: Work | None) -> tuple[Any, Any]:
    taskiq_redis: Any = import_module("taskiq_redis")
    logging.getLogger("taskiq").setLevel(logging.ERROR)
    broker = taskiq_redis.RedisStreamBroker(url, consumer_id="0")

    async def deliver(number: int, at: float, **fields: object) -> None:  # noqa: ARG001
        assert work is not None
        await work.handle(number, at)

    return broker, broker.task(task_name="deliver")(deliver)


@asynccontextmanager
async def submitter(url: str) -> AsyncGenerator[Submitter]:
    """A client, connected."""
    broker, task = _broker(url, None)
    await broker.startup()

    async def one(job: Job) -> None:
        await task.kiq(**job.arguments())

    async def many(jobs: Sequence[Job]) -> None:
        await pooled(one, jobs, CALLERS)

    yield Submitter(one, many)
    await broker.shutdown()


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    api: Any = import_module("taskiq.api")
    broker, _ = _broker(url, work)
    concurrency = work.concurrency or CONCURRENCY
    run = partial(api.run_receiver_task, broker, max_async_tasks=concurrency, max_prefetch=concurrency)
    await run(validate_params=False, run_startup=True)


async def left(url: str) -> int:
    """Jobs not yet given to a worker, and those not yet acknowledged."""
    redis: Any = import_module("redis.asyncio")
    client = redis.Redis.from_url(url)
    (group,) = await client.xinfo_groups("taskiq")
    await client.aclose()
    return int(group["lag"]) + int(group["pending"])
