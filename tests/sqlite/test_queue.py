from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from ratesync.clock import Clock
from ratesync.model.work import Durability
from ratesync.sqlite import SqliteQueue
from ratesync.sqlite.file import SqliteFile
from ratesync.testing.queue_suite import QueueSuite
from ratesync.testing.trio_run import TrioRun
from ratesync.testing.virtual_loop import VirtualEventLoop
from ratesync.testing.virtual_time import VirtualClock

FILES = WeakSet[SqliteFile]()


def is_at_work() -> bool:
    """Whether a writer thread has calls whose answers have not come to their tasks."""
    return any(file.is_at_work for file in FILES)


class Loop(VirtualEventLoop):
    """Time stands still while a writer thread works."""

    def thread_at_work(self) -> bool:
        return is_at_work() or super().thread_at_work()


class Run(TrioRun):
    """Time stands still while a writer thread works."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        threads = self._active_threads
        self._active_threads = lambda: threads() + is_at_work()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": Loop}
    run = Run()
    return "trio", {"clock": run.clock, "instruments": [run]}


class TestSqliteQueue(QueueSuite):
    crowd = 10_000

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def queue_factory(self, clock: Clock, tmp_path: Path) -> Callable[..., SqliteQueue]:
        numbers = count()

        def make(**options: Any) -> SqliteQueue:
            # The same but for the disk, for which hundreds of tests would wait.
            file = SqliteFile(tmp_path / f"{next(numbers)}.db", durability=Durability.FSYNC_1S, clock=clock)
            FILES.add(file)
            return SqliteQueue(file, **options)

        return make
