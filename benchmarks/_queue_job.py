"""What every contestant of the queue benchmark is given: the same jobs, and the same two ends to be driven by."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

from attrs import frozen

OURS = ("ratesync", "ratesync_single")
PEERS = ("streaq", "taskiq", "saq", "arq")
ALL = (*OURS, *PEERS)


@frozen
class Job:
    """One piece of work."""

    number: int
    at: float
    """When it was due to be submitted, by the machine's monotonic clock, which all processes share."""
    lane: int = 0
    """Which connection it is for. Peers have no such thing."""

    def arguments(self) -> dict[str, Any]:
        """What the handler is called with: a small record, as a sync would send it."""
        return {
            "number": self.number,
            "at": self.at,
            "email": f"ada{self.number}@example.org",
            "name": "Ada Lovelace",
            "age": 36,
        }


@frozen
class Submitter:
    """Both ways to submit; each returns when the server has accepted."""

    one: Callable[[Job], Awaitable[None]]
    many: Callable[[Sequence[Job]], Awaitable[None]]


@frozen
class Work:
    """What a worker does with each job."""

    handle: Callable[[int, float], Awaitable[None]]
    """Called once for a job, with its number and its ``at``."""
    concurrency: int | None
    """Most jobs at the same time; None for what suits the contestant."""


class Contestant(Protocol):
    """A module of ``benchmarks.queue_peers``."""

    @staticmethod
    def load() -> None:
        """Import what the contestant needs, before time is measured."""

    @staticmethod
    def submitter(url: str) -> AbstractAsyncContextManager[Submitter]:
        """A client, connected."""
        ...

    @staticmethod
    async def work(url: str, work: Work) -> None:
        """Work for ever."""

    @staticmethod
    async def left(url: str) -> int:
        """Jobs that are neither done nor acknowledged."""
        ...


def contestant(name: str) -> Contestant:
    """The contestant of that name."""
    return cast("Contestant", importlib.import_module(f"benchmarks.queue_peers.{name}"))


async def pooled(submit: Callable[[Job], Awaitable[object]], jobs: Sequence[Job], callers: int) -> None:
    """Submit by so many tasks: for peers that have no call for many."""
    from anyio import create_task_group

    rest = iter(jobs)

    async def call() -> None:
        for job in rest:
            await submit(job)

    async with create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(call)
