"""One run of the queue benchmark: a contestant, a way to submit, and workers that do it all, exactly once."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from attrs import asdict, define, frozen

from benchmarks._queue_job import contestant as contestant_of
from benchmarks._queue_process import Board, SubmitOrder, WorkerOrder
from benchmarks._queue_server import Meter

PATIENCE = 300.0
GRACE = 0.2
"""Seconds in which the last jobs are acknowledged."""
SETTLE = 0.5
"""Seconds that workers have to get ready before jobs come at a steady rate."""


@frozen
class Cell:
    """What is measured with each contestant."""

    name: str
    contestants: tuple[str, ...]
    jobs: int
    workers: int
    how: str
    """How jobs are submitted: "many" or "one" before the workers begin, or "steady" while they work."""
    pause: float = 0.0
    """Seconds that a job takes."""
    concurrency: int | None = None
    """Most jobs at the same time in a worker; None for what suits the contestant."""
    rate: float = 0.0
    """Jobs a second, if steady."""
    lanes: int = 1
    more: int = 1
    """So many times as many jobs for ratesync, whose run would be too short to measure otherwise."""

    def count(self, contestant: str) -> int:
        """Jobs for that contestant."""
        return self.jobs * (self.more if contestant.startswith("ratesync") else 1)


@define
class Process:
    """A process of the benchmark."""

    running: subprocess.Popen[str]

    @classmethod
    def start(cls, role: str, order: WorkerOrder | SubmitOrder) -> Process:
        """Start it; it imports what it needs, and waits."""
        command = [sys.executable, "-m", "benchmarks._queue_process", role, json.dumps(asdict(order))]
        return cls(subprocess.Popen(command, stdin=-1, stdout=-1, text=True))

    def say(self, word: str) -> None:
        """Tell it something."""
        assert self.running.stdin is not None
        self.running.stdin.write(f"{word}\n")
        self.running.stdin.flush()

    def line(self) -> str:
        """What it says."""
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        assert line, f"a process of the benchmark ended: {self.running.args!r}"
        return line

    def go(self) -> None:
        """Let it begin, once it is ready."""
        assert self.line() == "ready\n"
        self.say("go")


def run_cell(cell: Cell, contestant: str, meter: Meter) -> dict[str, float]:
    """Run it once, on an emptied server; figures by name."""
    meter.empty()
    count = cell.count(contestant)
    with TemporaryDirectory(prefix="ratesync-") as folder, processes() as started:
        board = Board(Path(folder) / "board", cell.workers)
        board.write_empty()
        order = SubmitOrder(contestant, meter.url, count, cell.how, cell.rate, cell.lanes)
        submitter = Process.start("submit", order)
        started.append(submitter)
        workers = [
            Process.start(
                "work", WorkerOrder(contestant, meter.url, str(board.path), slot, cell.pause, cell.concurrency)
            )
            for slot in range(cell.workers)
        ]
        started.extend(workers)
        figures = _steady(submitter, workers) if cell.rate else _filled(submitter, meter, count)
        before = meter.read()
        if not cell.rate:
            for worker in workers:
                worker.go()
        seconds = drained(board, count, workers)
        time.sleep(GRACE)
        used = meter.read() - before
        _wait_until_none_left(contestant, meter.url)
        told = [_stop(worker) for worker in workers]
    _check(contestant, count, told)
    figures |= {
        "drained/s": count / seconds,
        "worker CPU us": sum(one["cpu"] for one in told) / count * 1e6,
        "worker RSS MB": max(one["rss"] for one in told) / 2**20,
        "server CPU us": used.cpu / count * 1e6,
        "commands": used.commands / count,
        "round trips": used.reads / count,
    }
    return _waits(told) if cell.rate else figures


@contextmanager
def processes() -> Generator[list[Process]]:
    """A list of processes that end with the context."""
    started: list[Process] = []
    try:
        yield started
    finally:
        for process in started:
            process.running.kill()
            process.running.communicate()


def _filled(submitter: Process, meter: Meter, count: int) -> dict[str, float]:
    """Submit everything first."""
    submitter.go()
    before = meter.read()
    told = json.loads(submitter.line())
    used = meter.read() - before
    return {
        "enqueued/s": told["per_second"],
        "submitter CPU us": told["cpu_us"],
        "enqueue: server CPU us": used.cpu / count * 1e6,
        "enqueue: commands": used.commands / count,
        "enqueue: round trips": used.reads / count,
    }


def _steady(submitter: Process, workers: Sequence[Process]) -> dict[str, float]:
    """Let the workers wait for work, and then submit at the given rate."""
    for worker in workers:
        worker.go()
    time.sleep(SETTLE)
    submitter.go()
    json.loads(submitter.line())
    return {}


def drained(board: Board, count: int, workers: Sequence[Process]) -> float:
    """Seconds from when the first job began to when the last one ended."""
    give_up_at = time.monotonic() + PATIENCE
    while (found := board.read())[0] < count:
        assert time.monotonic() < give_up_at, f"{found[0]} of {count} jobs after {PATIENCE} s"
        assert all(worker.running.poll() is None for worker in workers), "a worker ended"
        time.sleep(0.005)
    return found[2] - found[1]


def _wait_until_none_left(contestant: str, url: str) -> None:
    """All that was done must be acknowledged, too."""
    give_up_at = time.monotonic() + 20
    while left := anyio.run(contestant_of(contestant).left, url):
        assert time.monotonic() < give_up_at, f"{contestant}: {left} jobs are not acknowledged"
        time.sleep(0.1)


def _stop(worker: Process) -> dict[str, Any]:
    worker.say("stop")
    told: dict[str, Any] = json.loads(worker.line())
    return told


def _check(contestant: str, count: int, told: Sequence[dict[str, Any]]) -> None:
    """Every job was done, and none twice."""
    numbers = sorted(number for one in told for number in one["numbers"])
    assert numbers == list(range(count)), f"{contestant}: {len(numbers)} calls, {len(set(numbers))} of {count} jobs"


def _waits(told: Sequence[dict[str, Any]]) -> dict[str, float]:
    """From when a job was due to be submitted to when its work began."""
    waits = [wait for one in told for number, wait in zip(one["numbers"], one["waits"], strict=True) if number]
    return {"p50 ms": statistics.median(waits) * 1e3, "p95 ms": statistics.quantiles(waits, n=20)[-1] * 1e3}
