"""Queues in a Redis that many tests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio

from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer

NUMBERS = count()


def new_prefix() -> str:
    """What no other test's keys begin with."""
    return f"queue{next(NUMBERS)}"


@asynccontextmanager
async def queue_at(
    url: str, *, prefix: str = "", timeout: float = 1.0, patience: float = 5.0, **options: Any
) -> AsyncGenerator[RedisQueue]:
    """An open queue, with keys of its own unless a prefix is given."""
    server = RedisServer.from_url(
        url, prefix=prefix or new_prefix(), durability=Durability.PROCESS, timeout=timeout, patience=patience
    )
    queue = RedisQueue(server, **options)
    await queue.open()
    try:
        yield queue
    finally:
        with anyio.CancelScope(shield=True):
            await queue.close()
