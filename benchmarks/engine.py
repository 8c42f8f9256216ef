"""The in-memory engine with a provider that does nothing, beside asyncio.Queue with workers and taskiq's broker.

    python -m benchmarks.engine [--quick] [--json]

Every measurement runs in a process of its own, in turn; figures are medians. "cpu_us" is CPU time in microseconds.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from attrs import Factory, define

from benchmarks._report import Report, main, measure_in_turn
from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Settings, SyncEngine
from ratesync.memory import MemoryBackend

CHUNK = 1_000

PEER_CPU = 1.7
"""Microseconds that asyncio.Queue cost for each item on the machine for which the bars in operations/s were set.

By it the same bars are held as ratios too, as the speed of one machine changes threefold from day to day.
"""

DONE = Applied()


@define
class NoOpProvider:
    """Says yes to everything at once."""

    name: str = "noop"
    capabilities: Capabilities = Factory(lambda: Capabilities(batch_max=100, concurrency=None))
    calls: int = 0
    served: list[tuple[str, int]] = Factory(list[tuple[str, int]])

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Note the batch and say yes."""
        self.calls += 1
        self.served.append((batch.connection, len(batch.operations)))
        return {operation.id or "": DONE for operation in batch.operations}


def operations(count: int, lanes: int = 1) -> list[Operation]:
    """Small updates of different records."""
    return [
        Operation.update(
            "noop",
            "contacts",
            str(number),
            {"email": f"ada{number}@example.org", "name": "Ada Lovelace", "age": 36},
            connection=f"c{number % lanes}",
        )
        for number in range(count)
    ]


def engine_of(
    provider: NoOpProvider, capacity: int = 2_000_000, role: str = "full", backend: MemoryBackend | None = None
) -> SyncEngine:
    """An engine in memory."""
    return SyncEngine(backend=backend or MemoryBackend(capacity=capacity), providers=[provider], role=role)


def timed(work: Callable[[], Awaitable[None]], count: int) -> dict[str, float]:
    """Run ``work`` and relate its time to ``count`` operations.

    What was made before is the measurement's own, and kept from the collector: an application does not hold 100,000
    operations ready to submit. Looking through them took a seventh of the time, the same for every contestant.
    """

    async def run() -> tuple[float, float]:
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        return time.perf_counter() - wall, time.process_time() - cpu

    wall, cpu = anyio.run(run)
    return {"per_second": count / wall, "cpu_us": cpu / count * 1e6}


def batches(quick: bool) -> Mapping[str, float]:
    """Submitted a thousand at a time, called a hundred at a time."""
    count = 30_000 if quick else 100_000
    work = operations(count)

    async def run() -> None:
        async with engine_of(NoOpProvider()) as engine:
            for chunk in _chunks(work):
                await engine.submit_many(chunk)
            assert await engine.drain(timeout=300)

    return timed(run, count)


def _chunks(work: Sequence[Operation]) -> list[Sequence[Operation]]:
    return [work[start : start + CHUNK] for start in range(0, len(work), CHUNK)]


def one_by_one(quick: bool) -> Mapping[str, float]:
    """Submitted one at a time; calls take what has gathered."""
    return _one_by_one(10_000 if quick else 30_000, 100)


def single_calls(quick: bool) -> Mapping[str, float]:
    """Submitted one at a time, called one at a time."""
    return _one_by_one(10_000 if quick else 30_000, 1)


def _one_by_one(count: int, batch_max: int) -> Mapping[str, float]:
    work = operations(count)

    async def run() -> None:
        provider = NoOpProvider(capabilities=Capabilities(batch_max=batch_max, concurrency=None))
        async with engine_of(provider) as engine:
            for operation in work:
                await engine.submit(operation)
            assert await engine.drain(timeout=300)

    return timed(run, count)


def asyncio_queue(quick: bool) -> Mapping[str, float]:
    """A bare asyncio.Queue with 64 workers: no order, no retry, no limits, nothing kept."""
    count = 30_000 if quick else 100_000
    work = operations(count)

    async def run() -> None:
        queue: asyncio.Queue[Operation] = asyncio.Queue(10_000)
        provider = NoOpProvider(capabilities=Capabilities(batch_max=1))

        async def worker() -> None:
            while True:
                operation = await queue.get()
                await provider.execute(Batch(operation.lane, operation.resource, operation.kind, (operation,)))
                queue.task_done()

        workers = [asyncio.create_task(worker()) for _ in range(64)]
        for operation in work:
            await queue.put(operation)
        await queue.join()
        for task in workers:
            task.cancel()

    return timed(run, count)


def taskiq(quick: bool) -> Mapping[str, float]:
    """Taskiq's in-memory broker: a task for each operation."""
    from taskiq import InMemoryBroker

    count = 5_000 if quick else 20_000
    work = operations(count)

    async def run() -> None:
        broker = InMemoryBroker(await_inplace=False, max_stored_results=count)

        @broker.task
        async def deliver(record_id: str, fields: dict[str, object]) -> bool:  # noqa: ARG001
            return True

        await broker.startup()
        for operation in work:
            await deliver.kiq(operation.record_id or "", dict(operation.fields))
        await broker.wait_all()
        await broker.shutdown()

    return timed(run, count)


def _queued(count: int, lanes: int, repeat: int = 1) -> Mapping[str, float]:
    """CPU of one operation when ``count`` are queued over ``lanes`` before work begins."""
    work = operations(count, lanes)

    async def run() -> None:
        for _ in range(repeat):
            backend = MemoryBackend(capacity=count)
            async with engine_of(NoOpProvider(), role="submit", backend=backend) as submitting:
                for chunk in _chunks(work):
                    await submitting.submit_many(chunk)
            async with engine_of(NoOpProvider(), backend=backend) as engine:
                assert await engine.drain(timeout=600)

    return timed(run, count * repeat)


def queued_few(quick: bool) -> Mapping[str, float]:
    """1,000 queued in one lane, again and again."""
    return _queued(1_000, 1, repeat=10 if quick else 50)


def queued_many(quick: bool) -> Mapping[str, float]:
    """1,000,000 queued in one lane (quick: 100,000)."""
    return _queued(100_000 if quick else 1_000_000, 1)


def lanes_many(quick: bool) -> Mapping[str, float]:
    """1,000,000 queued in 10,000 lanes (quick: 100,000 in 1,000)."""
    return _queued(100_000 if quick else 1_000_000, 1_000 if quick else 10_000)


def memory(quick: bool) -> Mapping[str, float]:
    """Resident bytes for each queued operation."""
    count = 50_000 if quick else 300_000

    async def run() -> float:
        async with engine_of(NoOpProvider(), role="submit") as engine:
            await engine.submit_many(operations(CHUNK))
            gc.collect()
            before = _resident()
            for start in range(0, count, CHUNK):
                await engine.submit_many(
                    [
                        Operation.update(
                            "noop",
                            "contacts",
                            str(number),
                            {"email": f"ada{number}@example.org", "name": "Ada Lovelace", "age": 36},
                        )
                        for number in range(start + CHUNK, start + 2 * CHUNK)
                    ]
                )
            gc.collect()
            return (_resident() - before) / count

    return {"bytes": anyio.run(run)}


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the peak, which grows only here
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def latency(quick: bool) -> Mapping[str, float]:
    """Milliseconds from submit to the provider's call, 500 operations a second."""
    seconds = 1 if quick else 6
    submitted: dict[str, float] = {}
    waits: list[float] = []

    @define
    class Timing(NoOpProvider):
        async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
            now = time.perf_counter()
            waits.extend(now - submitted[operation.record_id or ""] for operation in batch.operations)
            return {operation.id or "": DONE for operation in batch.operations}

    async def run() -> None:
        async with engine_of(Timing()) as engine:
            for operation in operations(500 * seconds):
                submitted[operation.record_id or ""] = time.perf_counter()
                await engine.submit(operation)
                await anyio.sleep(0.002)
            assert await engine.drain(timeout=30)

    anyio.run(run)
    cut = statistics.quantiles(waits, n=20)
    return {"p50_ms": statistics.median(waits) * 1e3, "p95_ms": cut[-1] * 1e3}


def idle(quick: bool) -> Mapping[str, float]:
    """Share of one core that an engine with nothing to do takes, in percent."""
    seconds = 2 if quick else 10

    async def run() -> float:
        async with engine_of(NoOpProvider()) as engine:
            await engine.submit_many(operations(10))
            assert await engine.drain(timeout=30)
            await anyio.sleep(0.5)
            cpu = time.process_time()
            await anyio.sleep(seconds)
            return (time.process_time() - cpu) / seconds * 100

    return {"percent": anyio.run(run)}


def neighbour(quick: bool) -> Mapping[str, float]:
    """Batches served to a lane with 100,000 queued before a lane with 10, submitted later, has had all of its own."""
    backlog = 20_000 if quick else 100_000

    async def run() -> float:
        backend = MemoryBackend(capacity=200_000)
        provider = NoOpProvider(capabilities=Capabilities(batch_max=100, concurrency=None))
        settings = Settings(max_calls=1)
        async with SyncEngine(backend=backend, providers=[provider], role="submit") as engine:
            for chunk in _chunks(operations(backlog)):
                await engine.submit_many(chunk)
            await engine.submit_many(
                [Operation.update("noop", "contacts", str(n), {"n": n}, connection="small") for n in range(10)]
            )
        async with SyncEngine(backend=backend, providers=[provider], settings=settings) as engine:
            assert await engine.drain("noop", "small", timeout=60)
        return [connection for connection, _ in provider.served].index("small")

    return {"batches": anyio.run(run)}


MEASUREMENTS = {
    function.__name__: function
    for function in (
        batches,
        one_by_one,
        single_calls,
        asyncio_queue,
        taskiq,
        queued_few,
        queued_many,
        lanes_many,
        memory,
        latency,
        idle,
        neighbour,
    )
}


def judge(quick: bool) -> Report:
    """Measure everything and hold it against the bars."""
    report = Report("engine", quick)
    rounds = 1 if quick else 3
    found = measure_in_turn("benchmarks.engine", list(MEASUREMENTS), rounds=rounds, quick=quick)
    for name in MEASUREMENTS:
        report.figures |= {f"{name} {figure}": value for figure, value in found[name].items()}
    report.at_least("operations/s in batches", found["batches"]["per_second"], 30_000)
    report.at_least("operations/s one by one", found["one_by_one"]["per_second"], 10_000)
    report.at_least("operations/s one by one, one in a call", found["single_calls"]["per_second"], 10_000)
    peer = found["asyncio_queue"]["cpu_us"]
    for name, per_second in (("batches", 30_000), ("one_by_one", 10_000), ("single_calls", 10_000)):
        bound = 1e6 / per_second / PEER_CPU
        report.at_most(f"{name}: cpu / that of asyncio.Queue", found[name]["cpu_us"] / peer, bound)
    few = found["queued_few"]["cpu_us"]
    report.at_most("cost with many queued / few queued", found["queued_many"]["cpu_us"] / few, 1.3)
    report.at_most(
        "cost with many lanes / one lane", found["lanes_many"]["cpu_us"] / found["queued_many"]["cpu_us"], 1.3
    )
    report.at_most("bytes for a queued operation", found["memory"]["bytes"], 1024)
    report.at_most("idle: percent of a core", found["idle"]["percent"], 0.1)
    report.at_most("batches that a small lane waits for", found["neighbour"]["batches"], 1)
    if quick:
        report.notes.append("quick: 100,000 queued instead of 1,000,000, 1,000 lanes instead of 10,000, one round")
    return report


if __name__ == "__main__":
    raise SystemExit(main(MEASUREMENTS, judge))
