"""The queue in a file against the simple model, in lockstep."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from ratesync.model.work import Durability
from ratesync.sqlite import SqliteQueue
from tests.memory.queue_model import QueueModel
from tests.memory.test_queue_machine import LEASE_SECONDS, QueueMachine


class SqliteQueueMachine(QueueMachine):
    @initialize(mailbox_max=st.integers(1, 4), capacity=st.integers(6, 16), results=st.integers(0, 8))
    def start(self, mailbox_max: int, capacity: int, results: int) -> None:
        options: dict[str, Any] = {
            "mailbox_max": mailbox_max,
            "capacity": capacity,
            "dead_letter_capacity": 3,
            "result_capacity": results,
            "priority_step": 4.0,
            "lease_seconds": LEASE_SECONDS,
        }
        self.model = QueueModel(**options)
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "queue.db"
        self.opened = SqliteQueue(path, clock=self.clock, durability=Durability.FSYNC_1S, **options)
        self.queue = self.opened  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self.run(self.opened.open())

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.loop.run_until_complete(self.opened.close())
            self.folder.cleanup()
        super().teardown()


TestSqliteQueueMachine = SqliteQueueMachine.TestCase
TestSqliteQueueMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, phases=[Phase.generate]
)
