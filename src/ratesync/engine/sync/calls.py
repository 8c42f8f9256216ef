"""Calls at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def call_for_each(call: Callable[[T], Awaitable[object]], parts: Sequence[T], most: int | None) -> None:
    """Make a call for each part. What one raises ends the others, and is raised.

    :param most: so many at the same time; None: all.
    """
    line = iter(parts)

    async def work() -> None:
        for part in line:
            await call(part)

    workers = min(len(parts), most or len(parts))
    if workers <= 1:  # most are: spare them the tasks
        await work()
        return
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
