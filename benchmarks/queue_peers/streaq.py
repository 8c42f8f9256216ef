"""streaq: streams and Lua, on coredis.

Settings: no results kept (``ttl=0``), no log line per job (``silent``), JSON instead of pickle, and 64 tasks at a time;
it fetches as many again ahead, its default. ``enqueue_many`` pipelines a call for each job.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks._queue_job import Job, Submitter, Work

CONCURRENCY = 64


def load() -> None:
    """Import it."""
    import_module("streaq")


def _packed(value: object) -> bytes:
    return json.dumps(value).encode()


def _worker(url: str, work: Work | None) -> tuple[Any, Any]:
    """Its worker, which is its client too, and the task."""
    streaq: Any = import_module("streaq")
    worker = streaq.Worker(
        redis_url=url,
        concurrency=(work.concurrency if work else None) or CONCURRENCY,
        serializer=_packed,
        deserializer=json.loads,
        handle_signals=False,
    )

    async def deliver(number: int, at: float, **fields: object) -> None:  # noqa: ARG001
        assert work is not None
        await work.handle(number, at)

    return worker, worker.task(silent=True, ttl=0)(deliver)


@asynccontextmanager
async def submitter(url: str) -> AsyncGenerator[Submitter]:
    """A client, connected."""
    worker, task = _worker(url, None)

    async def one(job: Job) -> None:
        await task.enqueue(**job.arguments())

    async def many(jobs: Sequence[Job]) -> None:
        await worker.enqueue_many([task.enqueue(**job.arguments()) for job in jobs])

    async with worker:
        yield Submitter(one, many)


async def work(url: str, work: Work) -> None:
    """Work for ever."""
    worker, _ = _worker(url, work)
    await worker.run_async()


async def left(url: str) -> int:
    """Jobs whose data is still there: it goes when they are finished."""
    worker, _ = _worker(url, None)
    async with worker:
        return len([key async for key in worker.redis.scan_iter(f"{worker.task_key}*")])
