"""The engine on a SQLite file with fsync on every commit, and a provider that does nothing, beside asyncio.Queue.

    python -m benchmarks.sqlite [--quick] [--json]

The file lies in the temporary folder; set TMPDIR to measure another disk. Every measurement runs in a process of its
own, in turn; figures are medians. "cpu_us" is CPU time in microseconds, the writer thread's included.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import anyio

from benchmarks._report import Report, main, measure_in_turn
from benchmarks.engine import CHUNK, PEER_CPU, NoOpProvider, asyncio_queue, operations, timed
from ratesync import Capabilities, Operation, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import ClaimRequest, Durability, Finished, Item, Lease, Settlement
from ratesync.sqlite import SqliteBackend, SqliteQueue

BATCH = 100
"""Items of a call in what measures the queue alone."""
CALLERS = 100
"""Tasks that submit at the same time."""
BODY = bytes(300)
ROOM = 2_000_000
LEAST = 12_000
"""Operations a second that must be reached."""
MEMORY_DISK = 20.0
"""Microseconds: a faster fsync reaches no disk."""
PROCESS = "import sys; from benchmarks.sqlite import serve; serve(sys.argv[1])"


@contextmanager
def new_file() -> Generator[Path]:
    """A path for a database in a folder that goes afterwards."""
    with TemporaryDirectory(prefix="ratesync-") as folder:
        yield Path(folder) / "queue.db"


def engine_on(path: Path, role: str = "full", batch_max: int = 100) -> SyncEngine:
    """An engine on that file, with fsync on every commit."""
    backend = SqliteBackend(path, limiter=MemoryLimiter(), durability=Durability.FSYNC, capacity=ROOM)
    provider = NoOpProvider(capabilities=Capabilities(batch_max=batch_max, concurrency=None))
    return SyncEngine(backend=backend, providers=[provider], role=role)


def _end_to_end(count: int, submit: Callable[[SyncEngine, Sequence[Operation]], Awaitable[None]]) -> dict[str, float]:
    work = operations(count)
    with new_file() as path:

        async def run() -> None:
            async with engine_on(path) as engine:
                await submit(engine, work)
                assert await engine.drain(timeout=300)

        return timed(run, count)


def batches(quick: bool) -> Mapping[str, float]:
    """Submitted a thousand at a time, called a hundred at a time."""

    async def submit(engine: SyncEngine, work: Sequence[Operation]) -> None:
        for start in range(0, len(work), CHUNK):
            await engine.submit_many(work[start : start + CHUNK])

    return _end_to_end(20_000 if quick else 100_000, submit)


def callers(quick: bool) -> Mapping[str, float]:
    """Submitted one at a time by a hundred tasks; a commit takes what has gathered."""

    async def submit(engine: SyncEngine, work: Sequence[Operation]) -> None:
        left = iter(work)

        async def call() -> None:
            for operation in left:
                await engine.submit(operation)

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(call)

    return _end_to_end(20_000 if quick else 60_000, submit)


def one_by_one(quick: bool) -> Mapping[str, float]:
    """Submitted by one task that waits each time until it is on disk: an fsync for each."""

    async def submit(engine: SyncEngine, work: Sequence[Operation]) -> None:
        for operation in work:
            await engine.submit(operation)

    return _end_to_end(1_000 if quick else 5_000, submit)


def disk(quick: bool) -> Mapping[str, float]:
    """What it takes to append a page to a file and to bring it to disk."""
    page, times = bytes(4096), list[float]()
    with new_file() as path, path.open("wb", buffering=0) as file:
        for _ in range(200 if quick else 1_000):
            started_at = time.perf_counter()
            file.write(page)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started_at)
    return {"fsync_us": statistics.median(times) * 1e6}


def items(count: int, lanes: int = 1) -> list[Item]:
    """Operations of different records, as the queue sees them."""
    return [Item(f"{n:026}", Lane("noop", f"c{n % lanes}"), f"contacts\0{n}", BODY) for n in range(count)]


async def fill(queue: SqliteQueue, work: Sequence[Item], size: int = BATCH) -> None:
    """Enqueue it, so many at a time."""
    for start in range(0, len(work), size):
        await queue.enqueue(work[start : start + size])


async def take(queue: SqliteQueue, worker: str = "w") -> list[Lease]:
    """Claim a batch."""
    claim = await queue.claim(ClaimRequest(worker, 1, {"noop": BATCH}))
    return [lease for batch in claim.batches for lease in batch]


async def complete(queue: SqliteQueue, leases: Sequence[Lease], worker: str = "w") -> None:
    """Settle a batch."""
    done = [
        Settlement(lease, tuple(Finished(item.id, OperationState.COMPLETED, b"{}") for item in lease.items))
        for lease in leases
    ]
    assert all(await queue.settle(worker, done))


def queue_alone(quick: bool) -> Mapping[str, float]:
    """Enqueued, claimed and settled a hundred at a time, without an engine."""
    count = 20_000 if quick else 100_000
    work = items(count)

    async def run(path: Path) -> dict[str, float]:
        queue = SqliteQueue(path, capacity=ROOM)
        await queue.open()
        started_at = time.perf_counter()
        await fill(queue, work)
        filled_at = time.perf_counter()
        while leases := await take(queue):
            await complete(queue, leases)
        done_at = time.perf_counter()
        await queue.close()
        return {
            "enqueue_per_second": count / (filled_at - started_at),
            "claim_settle_per_second": count / (done_at - filled_at),
        }

    with new_file() as path:
        return anyio.run(run, path)


def _claim_cost(count: int, lanes: int) -> Mapping[str, float]:
    """Milliseconds of CPU to claim a hundred, and to settle them; what was taken is put back in other clothes."""
    work = items(count, lanes)
    claims, settles = list[float](), list[float]()

    async def run(path: Path) -> None:
        queue = SqliteQueue(path, capacity=ROOM)
        await queue.open()
        await fill(queue, work, CHUNK)
        for turn in range(100):
            started_at = time.process_time()
            leases = await take(queue)
            taken_at = time.process_time()
            await complete(queue, leases)
            settles.append(time.process_time() - taken_at)
            claims.append(taken_at - started_at)
            held = [(lease.lane, item) for lease in leases for item in lease.items]
            await queue.enqueue([Item(f"{turn}.{n}", lane, f"{turn}.{n}", BODY) for n, (lane, _) in enumerate(held)])
        await queue.close()

    with new_file() as path:
        anyio.run(run, path)
    return {"claim_cpu_ms": statistics.median(claims) * 1e3, "settle_cpu_ms": statistics.median(settles) * 1e3}


def queued_few(_quick: bool) -> Mapping[str, float]:
    """1,000 queued in 10 lanes."""
    return _claim_cost(1_000, 10)


def queued_many(quick: bool) -> Mapping[str, float]:
    """500,000 queued in 200 lanes (quick: 50,000)."""
    return _claim_cost(50_000 if quick else 500_000, 200)


def _processes(count: int, processes: int) -> Mapping[str, float]:
    """Operations a second that so many processes get done together; each exactly once."""

    async def run(path: Path) -> dict[str, float]:
        async with engine_on(path, "submit") as engine:
            await engine.pause()
            work = operations(count, 4)
            for start in range(0, count, CHUNK):
                await engine.submit_many(work[start : start + CHUNK])
            workers = [
                subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on
                    [sys.executable, "-c", PROCESS, str(path)], stdin=-1, stdout=-1, text=True
                )
                for _ in range(processes)
            ]
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            started_at = time.perf_counter()
            await engine.resume()
            assert await engine.drain(timeout=300)
            seconds = time.perf_counter() - started_at
            told = [worker.communicate("stop\n")[0].split() for worker in workers]
            served = sum(int(one) for one, _ in told)
            assert served == count, f"{served} calls for {count} operations"
            return {"per_second": count / seconds, "cpu_us": sum(float(cpu) for _, cpu in told) / count * 1e6}

    with new_file() as path:
        return anyio.run(run, path)


def serve(path: str) -> None:
    """A process that works until it is told to stop, and then prints how many operations and how much CPU it took."""
    provider = NoOpProvider()

    async def run() -> float:
        backend = SqliteBackend(path, limiter=MemoryLimiter(), capacity=ROOM)
        async with SyncEngine(backend=backend, providers=[provider], role="work"):
            print("ready", flush=True)
            before = time.process_time()
            await anyio.to_thread.run_sync(sys.stdin.readline)
            return time.process_time() - before

    cpu = anyio.run(run)
    print(sum(size for _, size in provider.served), cpu)


def one_process(quick: bool) -> Mapping[str, float]:
    """Worked on by one process, while another waits for the end."""
    return _processes(20_000 if quick else 60_000, 1)


def two_processes(quick: bool) -> Mapping[str, float]:
    """Worked on by two processes on one file."""
    return _processes(20_000 if quick else 60_000, 2)


def four_processes(quick: bool) -> Mapping[str, float]:
    """Worked on by four processes on one file."""
    return _processes(20_000 if quick else 60_000, 4)


def idle(quick: bool) -> Mapping[str, float]:
    """Share of one core that an engine with nothing to do takes, in percent."""
    seconds = 2 if quick else 10

    async def run(path: Path) -> float:
        async with engine_on(path) as engine:
            await engine.submit_many(operations(10))
            assert await engine.drain(timeout=30)
            await anyio.sleep(0.5)
            cpu = time.process_time()
            await anyio.sleep(seconds)
            return (time.process_time() - cpu) / seconds * 100

    with new_file() as path:
        return {"percent": anyio.run(run, path)}


MEASUREMENTS = {
    function.__name__: function
    for function in (
        batches,
        callers,
        one_by_one,
        asyncio_queue,
        disk,
        queue_alone,
        queued_few,
        queued_many,
        one_process,
        two_processes,
        four_processes,
        idle,
    )
}


def judge(quick: bool) -> Report:
    """Measure everything and hold it against the bars."""
    report = Report("sqlite", quick)
    found = measure_in_turn("benchmarks.sqlite", list(MEASUREMENTS), rounds=1 if quick else 3, quick=quick)
    for name in MEASUREMENTS:
        report.figures |= {f"{name} {figure}": value for figure, value in found[name].items()}
    peer = found["asyncio_queue"]["cpu_us"]
    for name in ("batches", "callers"):
        report.at_least(f"{name}: operations/s", found[name]["per_second"], LEAST)
        report.at_most(f"{name}: cpu / that of asyncio.Queue", found[name]["cpu_us"] / peer, 1e6 / LEAST / PEER_CPU)
    many, few = found["queued_many"], found["queued_few"]
    report.at_most("cpu to claim 100 with many queued / few queued", many["claim_cpu_ms"] / few["claim_cpu_ms"], 1.3)
    alone = found["one_process"]["cpu_us"]
    report.at_most("cpu of two processes / of one", found["two_processes"]["cpu_us"] / alone, 1.3)
    report.at_most("cpu of four processes / of one", found["four_processes"]["cpu_us"] / alone, 1.5)
    report.at_most("idle: percent of a core", found["idle"]["percent"], 1.0)
    fsync = found["disk"]["fsync_us"]
    report.notes.append(f"the file lies in {gettempdir()}, where an fsync takes {fsync:,.0f} microseconds")
    report.notes.append(f"one_by_one has no bar: it waits for each fsync, and is not held to {LEAST:,} operations/s")
    if fsync < MEMORY_DISK:
        report.notes.append("that is no disk: set TMPDIR to a folder on one")
    if quick:
        report.notes.append("quick: 50,000 queued instead of 500,000, one round")
    return report


if __name__ == "__main__":
    raise SystemExit(main(MEASUREMENTS, judge))
