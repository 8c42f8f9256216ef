"""Kill a worker after each of its steps in turn: `python -m tests.chaos.crash_points redis|sqlite WHERE FOLDER MOOD`.

A step is what the event loop runs between two awaits. For each one there is a queue of its own with operations of one
key, and a worker that dies there. Then the queues are worked off, and each log is accounted for. Where the provider is
moody, it throttles the first call of each worker, and refuses the operation in the middle for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import TypeVarTuple, Unpack

import anyio
from attrs import define, field, frozen
from typing_extensions import override

from ratesync import Batch, Cause, Operation, Outcome, Rejected, RetryLater, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.sqlite import SqliteBackend
from tests.chaos.ledger import Attempt, Death, Log, account, attempts_in
from tests.chaos.worker import Provider, engine

CALL_SECONDS = 0.001
LEASE_SECONDS = 1.0
MOST = 2_000
Ts = TypeVarTuple("Ts")
ENDS = {"calm": {"o0": "completed", "o2": "completed"}, "moody": {"o0": "completed", "o1": "dead", "o2": "completed"}}
"""What the operations must come to, in order."""
ACCEPTED = {"o0": ("k", 0), "o2": ("k", 2)}
"""Those that are carried out."""


@frozen
class Moody(Provider):
    """Carries out only what it does not refuse."""

    throttled: list[str] = field(factory=list[str])

    @override
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        identity = batch.operations[0].id or ""
        if not self.throttled:
            self.throttled.append(identity)
            return {identity: RetryLater("not now", Cause.THROTTLED, retry_after=0.01)}
        if identity == "o1":
            return {identity: Rejected("never")}
        return await Provider.execute(self, batch)


class MortalLoop(asyncio.SelectorEventLoop):
    """Kills the process with -9 after its ``last``-th step."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self._left = last

    @override
    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(partial(self._step, partial(callback, *args)), context=context)

    def _step(self, callback: Callable[[], object]) -> None:
        callback()
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@define
class Point:
    """A queue, whose worker dies after so many steps."""

    kind: str
    where: str
    folder: Path
    mood: str
    number: int

    @property
    def log(self) -> Path:
        """What the provider saw."""
        return self.folder / f"log-{self.number}"

    def engine(self, role: str) -> SyncEngine:
        """An engine on this point's queue."""
        provider = (Moody if self.mood == "moody" else Provider)(Log(self.log), seconds=CALL_SECONDS)
        if self.kind == "redis":
            return engine(self.where, role, provider, LEASE_SECONDS, prefix=f"{self.mood}-{self.number}")
        path = self.folder / f"queue-{self.number}.db"
        backend = SqliteBackend(path, limiter=MemoryLimiter(), lease_seconds=LEASE_SECONDS)
        return SyncEngine(backend=backend, providers=[provider], role=role)

    async def submit(self) -> None:
        """Operations of one key."""
        async with self.engine("submit") as submitting:
            await submitting.submit_many(
                Operation.create("acme", "events", {"key": "k", "number": int(identity[1:])}, id=identity, key="k")
                for identity in ENDS[self.mood]
            )

    async def work(self) -> None:
        """Do them, and stop."""
        async with self.engine("work") as working:
            await working.drain()

    async def finish(self) -> list[str]:
        """Do what is left; the states of the operations."""
        async with self.engine("full") as finishing:
            assert await finishing.drain(timeout=30)
            return [(await finishing.status(identity)).state.value for identity in ENDS[self.mood]]

    def live_and_die(self) -> Death | None:
        """Fork a worker; its death, or None if it came to its end alive."""
        anyio.run(self.submit)
        child = os.fork()
        if child == 0:
            anyio.run(self.work, backend_options={"loop_factory": partial(MortalLoop, self.number)})
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return Death(child, time.monotonic())
        assert os.waitstatus_to_exitcode(status) == 0, "the worker failed"
        return None


def calls_of(point: Point) -> list[Attempt]:
    """What the provider saw of it."""
    return attempts_in(point.log.read_text(encoding="utf-8").splitlines())


async def finish_all(points: list[Point]) -> list[list[str]]:
    """Work all queues off, some at a time."""
    states: dict[int, list[str]] = {}
    room = anyio.CapacityLimiter(10)

    async def finish(point: Point) -> None:
        async with room:
            states[point.number] = await point.finish()

    async with anyio.create_task_group() as tasks:
        for point in points:
            tasks.start_soon(finish, point)
    return [states[point.number] for point in points]


def main(kind: str, where: str, folder: str, mood: str) -> None:
    """Print a line for each point: calls begun before the death, and what was found."""
    dead: list[tuple[Point, Death]] = []
    for number in range(1, MOST):
        point = Point(kind, where, Path(folder), mood, number)
        death = point.live_and_die()
        if death is None:
            break
        dead.append((point, death))
    else:
        raise SystemExit("the worker never comes to an end")
    before = [len(calls_of(point)) for point, _ in dead]
    states = anyio.run(finish_all, [point for point, _ in dead])
    for (point, death), begun, state in zip(dead, before, states, strict=True):
        calls = calls_of(point)
        found = account(ACCEPTED, calls, [death], [], grace=LEASE_SECONDS)
        clean = found.is_clean and state == [*ENDS[mood].values()]
        line = {"point": point.number, "before": begun, "calls": len(calls), "clean": clean, "found": str(found)}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
