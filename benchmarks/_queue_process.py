"""The processes of the queue benchmark: one that submits, and any number that work.

Each says "ready" when all is imported, begins when it reads a line, and prints what it measured as JSON.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import struct
import sys
import time
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from benchmarks._queue_job import Job, Submitter, Work, contestant

CHUNK = 1_000
"""Jobs that are submitted together."""
TICK = 0.01
"""Seconds between two submissions at a high steady rate."""
MOST_SINGLE = 1_000
"""Jobs a second that are submitted one by one."""
SLOT = struct.Struct("=Qdd")
"""What a worker tells while it works: jobs begun, and when the first and the last one were."""


@define
class Board:
    """A file in which workers tell how far they are; reading it costs the server and the workers nothing."""

    path: Path
    workers: int

    def write_empty(self) -> None:
        """Make the file."""
        self.path.write_bytes(bytes(SLOT.size * self.workers))

    def read(self) -> tuple[int, float, float]:
        """Jobs that were handled, and when the first and the last one were."""
        slots = [slot for slot in SLOT.iter_unpack(self.path.read_bytes()) if slot[0]]
        if not slots:
            return 0, 0.0, 0.0
        return sum(slot[0] for slot in slots), min(slot[1] for slot in slots), max(slot[2] for slot in slots)


@frozen
class WorkerOrder:
    """What a worker process is told."""

    contestant: str
    url: str
    board: str
    slot: int
    pause: float
    """Seconds that a job takes."""
    concurrency: int | None


@frozen
class SubmitOrder:
    """What a submitting process is told."""

    contestant: str
    url: str
    count: int
    how: str
    """"many" or "one", as fast as it goes, or "steady"."""
    rate: float = 0.0
    """Jobs a second, if steady."""
    lanes: int = 1


@define
class _Tally:
    """What a worker did."""

    order: WorkerOrder
    numbers: array[int] = field(factory=lambda: array("Q"))
    waits: array[float] = field(factory=lambda: array("d"))
    ended: int = 0

    @asynccontextmanager
    async def handler(self) -> AsyncGenerator[Callable[[int, float], Awaitable[None]]]:
        """The job: note it, and take the time."""
        order = self.order
        first_at = 0.0
        with open(order.board, "r+b") as file, mmap.mmap(file.fileno(), 0) as board:  # noqa: ASYNC230, PTH123

            async def handle(number: int, at: float) -> None:
                nonlocal first_at
                now = time.monotonic()
                self.numbers.append(number)
                self.waits.append(now - at)
                first_at = first_at or now
                if order.pause:
                    await anyio.sleep(order.pause)
                    now = time.monotonic()
                self.ended += 1
                SLOT.pack_into(board, order.slot * SLOT.size, self.ended, first_at, now)

            yield handle


def resident() -> int:
    """Bytes in memory."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _told(word: str) -> None:
    line = sys.stdin.readline().strip()
    if line != word:  # the benchmark is gone
        os._exit(1)


async def _work(order: WorkerOrder) -> NoReturn:
    tally = _Tally(order)
    own = contestant(order.contestant)
    async with tally.handler() as handle, anyio.create_task_group() as tasks:
        before = time.process_time()
        tasks.start_soon(own.work, order.url, Work(handle, order.concurrency))
        await anyio.to_thread.run_sync(_told, "stop")
        told = {
            "cpu": time.process_time() - before,
            "rss": resident(),
            "numbers": tally.numbers.tolist(),
            "waits": tally.waits.tolist(),
        }
        print(json.dumps(told), flush=True)
        os._exit(0)  # nothing is under way, and peers end in many ways
    raise AssertionError("a process that is over goes on")


async def _submit(order: SubmitOrder) -> dict[str, Any]:
    async with contestant(order.contestant).submitter(order.url) as submitter:
        jobs = [Job(number, 0.0, number % order.lanes) for number in range(order.count)]
        await submitter.one(jobs[0])  # connections are made, scripts loaded
        rest = jobs[1:]
        gc.collect()
        gc.freeze()
        started_at, before = time.monotonic(), time.process_time()
        if order.how == "many":
            for start in range(0, len(rest), CHUNK):
                await submitter.many(rest[start : start + CHUNK])
        elif order.how == "one":
            for job in rest:
                await submitter.one(job)
        else:
            await _steadily(order, submitter)
        seconds = time.monotonic() - started_at
        return {"per_second": len(rest) / seconds, "cpu_us": (time.process_time() - before) / len(rest) * 1e6}


async def _steadily(order: SubmitOrder, submitter: Submitter) -> None:
    """Submit each job when it is due, or as soon after as the contestant lets us; waiting counts from when it was."""
    begun_at = time.monotonic()
    number = 1
    while number < order.count:
        due = min(order.count, 1 + int((time.monotonic() - begun_at) * order.rate))
        jobs = [Job(n, begun_at + n / order.rate, n % order.lanes) for n in range(number, due)]
        number = max(number, due)
        if len(jobs) == 1:
            await submitter.one(jobs[0])
        else:
            for start in range(0, len(jobs), CHUNK):
                await submitter.many(jobs[start : start + CHUNK])
        next_in = begun_at + number / order.rate - time.monotonic()
        await anyio.sleep(TICK if order.rate > MOST_SINGLE else max(next_in, 0))


def main(role: str, text: str) -> None:
    """Be a process of that role."""
    told = json.loads(text)
    run: Callable[[], Awaitable[dict[str, Any]]]
    if role == "work":
        work_order = WorkerOrder(**told)
        contestant(work_order.contestant).load()
        run = lambda: _work(work_order)  # noqa: E731
    else:
        submit_order = SubmitOrder(**told)
        contestant(submit_order.contestant).load()
        run = lambda: _submit(submit_order)  # noqa: E731
    print("ready", flush=True)
    _told("go")
    print(json.dumps(anyio.run(run, backend_options={"use_uvloop": True})), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
