"""What only ratesync's queue in Redis is asked: many lanes, much queued, an idle fleet. Each on a server of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from attrs import define, field

from benchmarks._queue_cell import Cell, Process, drained, processes, run_cell
from benchmarks._queue_process import Board, SubmitOrder, WorkerOrder
from benchmarks._queue_server import Meter
from benchmarks._quota_redis import jemalloc, running_redis
from benchmarks.queue_peers.ratesync import ROOM
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import Claim, ClaimRequest, Durability, Finished, Item, Settlement
from ratesync.redis import RedisQueue, RedisServer

BODY = bytes(range(256)) + bytes(44)
"""300 bytes."""
CHUNK = 1_000
CALLS = 10
EACH = 10
"""A claim takes ten batches of ten operations."""
PAUSE = 0.05
FLEET = 4


def items(start: int, count: int, lanes: int) -> list[Item]:
    """Operations of different records, as the queue sees them."""
    return [Item(f"{n:026}", Lane("crm", f"c{n % lanes}"), f"contacts\0{n}", BODY) for n in range(start, start + count)]


def _with_queue(measure: Callable[[RedisQueue, Meter], Awaitable[dict[str, float]]]) -> dict[str, float]:
    async def run(url: str) -> dict[str, float]:
        queue = RedisQueue(RedisServer.from_url(url, durability=Durability.PROCESS), capacity=ROOM)
        await queue.open()
        try:
            return await measure(queue, Meter(url))
        finally:
            await queue.close()

    with running_redis() as url:
        return anyio.run(run, url, backend_options={"use_uvloop": True})


async def _fill(queue: RedisQueue, count: int, lanes: int) -> None:
    for start in range(0, count, CHUNK):
        await queue.enqueue(items(start, min(CHUNK, count - start), lanes))


async def _settle(queue: RedisQueue, claim: Claim) -> None:
    done = [
        Settlement(lease, tuple(Finished(item.id, OperationState.COMPLETED, b"{}") for item in lease.items))
        for batch in claim.batches
        for lease in batch
    ]
    assert all(await queue.settle("w", done))


def queue_alone(quick: bool) -> Mapping[str, float]:
    """Enqueued a thousand at a time, claimed and settled a hundred at a time, without an engine."""
    count = 10_000 if quick else 100_000

    async def measure(queue: RedisQueue, meter: Meter) -> dict[str, float]:
        work = [items(start, CHUNK, 1) for start in range(0, count, CHUNK)]
        started_at = time.perf_counter()
        for chunk in work:
            await queue.enqueue(chunk)
        filled_at, before, done = time.perf_counter(), meter.read(), 0
        while done < count:
            claim = await queue.claim(ClaimRequest("w", 1, {"crm": CALLS * EACH}))
            await _settle(queue, claim)
            done += sum(len(batch) for batch in claim.batches)
        used = meter.read() - before
        return {
            "enqueued/s": count / (filled_at - started_at),
            "claimed and settled/s": count / (time.perf_counter() - filled_at),
            "server CPU us": used.cpu / count * 1e6,
            "round trips": used.reads / count,
        }

    return _with_queue(measure)


@define
class _Claims:
    """A queue that is claimed from, and what that took."""

    queue: RedisQueue
    meter: Meter
    looking: float
    """Seconds of CPU that it takes the server to be asked for its CPU time."""
    servers: list[float] = field(factory=list[float])
    clients: list[float] = field(factory=list[float])

    async def turn(self, number: int) -> None:
        """Claim ten batches of ten; what was taken is settled and put back as other operations."""
        before, client = self.meter.cpu(), time.process_time()
        claim = await self.queue.claim(ClaimRequest("w", CALLS, {"crm": EACH}))
        self.clients.append(time.process_time() - client)
        self.servers.append(self.meter.cpu() - before - self.looking)
        taken = [(lease.lane, item) for batch in claim.batches for lease in batch for item in lease.items]
        assert len(taken) == CALLS * EACH, f"{len(taken)} operations were claimed"
        await _settle(self.queue, claim)
        await self.queue.enqueue(
            [Item(f"{number}.{n}", lane, f"contacts\0{number}.{n}", BODY) for n, (lane, _) in enumerate(taken)]
        )


def claim_cost(quick: bool) -> Mapping[str, float]:
    """CPU of a claim with 100 queued in 10 lanes, and with 1,000,000 in 10,000 (quick: 20,000 in 2,000)."""
    return _claim_cost(quick, preload="")


def claim_cost_jemalloc(quick: bool) -> Mapping[str, float]:
    """The same where the server has jemalloc, as Redis and Valkey have on Linux unless they are built otherwise.

    Empty if this machine has no jemalloc to preload.
    """
    library = jemalloc()
    return {} if library is None else _claim_cost(quick, preload=library)


def _claim_cost(quick: bool, *, preload: str) -> Mapping[str, float]:
    # Two servers, claimed from in turn: how fast the machine is changes from minute to minute.
    shapes = {"few": (100, 10), "many": (20_000, 2_000) if quick else (1_000_000, 10_000)}

    async def run(urls: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        async with AsyncExitStack() as stack:
            queues: dict[str, _Claims] = {}
            for (name, shape), url in zip(shapes.items(), urls, strict=True):
                queue = RedisQueue(RedisServer.from_url(url, durability=Durability.PROCESS), capacity=ROOM)
                await queue.open()
                stack.push_async_callback(queue.close)
                await _fill(queue, *shape)
                meter = Meter(url)
                queues[name] = _Claims(queue, meter, statistics.median(meter.looking() for _ in range(50)))
            for number in range(50 if quick else 300):
                for claims in queues.values():
                    await claims.turn(number)
        for name, claims in queues.items():
            found[f"{name}: server CPU us"] = statistics.median(claims.servers) * 1e6
            found[f"{name}: client CPU us"] = statistics.median(claims.clients) * 1e6
        return found

    with running_redis(preload) as first, running_redis(preload) as second:
        return anyio.run(run, [first, second], backend_options={"use_uvloop": True})


def memory(quick: bool) -> Mapping[str, float]:
    """Bytes of Redis for each queued operation with a body of 300 bytes, each of another record."""
    count = 10_000 if quick else 200_000

    async def measure(queue: RedisQueue, meter: Meter) -> dict[str, float]:
        before = meter.memory()
        await _fill(queue, count, 10)
        return {"bytes": (meter.memory() - before) / count}

    return _with_queue(measure)


def lanes_many(quick: bool) -> Mapping[str, float]:
    """A worker that serves 10,000 lanes: 100,000 operations (quick: 1,000 lanes with one in each)."""
    count, lanes = (1_000, 1_000) if quick else (100_000, 10_000)
    cell = Cell("lanes", ("ratesync",), count, workers=1, how="many", lanes=lanes)
    with running_redis() as url:
        figures = run_cell(cell, "ratesync", Meter(url))
    return {name: figures[name] for name in ("worker RSS MB", "drained/s", "server CPU us")}


def sustained(quick: bool) -> Mapping[str, float]:
    """3,500 operations a second for 30 s (quick: 2), each a call of 50 ms; four workers of 64 calls."""
    count = 3_500 * (2 if quick else 30)
    cell = Cell("sustained", ("ratesync",), count, FLEET, "steady", pause=PAUSE, concurrency=64, rate=3_500)
    with running_redis() as url:
        return run_cell(cell, "ratesync", Meter(url))


def scarce(quick: bool) -> Mapping[str, float]:
    """Calls of 50 ms of which the provider lets four through at a time: by one worker, and by four that share them."""
    found: dict[str, float] = {}
    for workers in (1, FLEET):
        cell = Cell("scarce", ("ratesync_scarce",), 40 if quick else 800, workers, "many", pause=PAUSE)
        with running_redis() as url:
            figures = run_cell(cell, "ratesync_scarce", Meter(url))
        for name in ("drained/s", "server CPU us", "round trips"):
            found[f"{workers} workers: {name}"] = figures[name]
    return found


def idle(quick: bool) -> Mapping[str, float]:
    """What four workers that have nothing to do any more send to Redis."""
    seconds, count = (2.0, 100) if quick else (15.0, 1_000)
    with running_redis() as url, TemporaryDirectory(prefix="ratesync-") as folder, processes() as started:
        meter, board = Meter(url), Board(Path(folder) / "board", FLEET)
        board.write_empty()
        orders = [WorkerOrder("ratesync", url, str(board.path), slot, 0.0, None) for slot in range(FLEET)]
        started += [Process.start("work", order) for order in orders]
        submitter = Process.start("submit", SubmitOrder("ratesync", url, count, "many"))
        for process in (*started, submitter):
            process.go()
        started.append(submitter)
        submitter.line()
        drained(board, count, started[:FLEET])
        submitter.running.wait()
        time.sleep(1.0)
        before = meter.read()
        time.sleep(seconds)
        used = meter.read() - before
    return {
        "commands/s": used.commands / seconds,
        "round trips/s": used.reads / seconds,
        "server CPU %": used.cpu / seconds * 100,
    }


MEASUREMENTS = {
    function.__name__: function
    for function in (queue_alone, claim_cost, claim_cost_jemalloc, memory, lanes_many, sustained, scarce, idle)
}
