"""The queue in a file against the simple model with which the queue in memory is in lockstep, too."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from ratesync.model.lane import Lane, Selector
from ratesync.model.work import Durability
from ratesync.sqlite import SqliteQueue
from tests.memory.queue_model import QueueModel
from tests.memory.test_queue_machine import LEASE_SECONDS, NAMES, QueueMachine, lanes, selectors


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

    @rule()
    def opened_anew(self) -> None:
        """What is in the file is all there is: tokens, timers, turns and leases go on."""
        self.run(self.opened.close())
        self.run(self.opened.open())

    @rule(lane=lanes, weight=st.sampled_from([0.5, 1.0, 3.0]))
    def set_weight(self, lane: Lane, weight: float) -> None:
        """Weights change who comes first, never what may be claimed."""
        self.run(self.opened.set_weight(lane, weight))

    @rule(name=st.sampled_from(NAMES))
    def finished(self, name: str) -> None:
        entry = self.run(self.opened.finished(name, self.clock.at))
        known = self.model.known.get(name)
        assert entry == (known and known.entry())

    @rule(selector=selectors)
    def drained(self, selector: Selector) -> None:
        assert self.run(self.opened.drained(selector, self.clock.at)) == (not self.model.stats(selector).pending)

    @rule(selector=selectors, limit=st.integers(0, 3))
    def page_of_letters(self, selector: Selector, limit: int) -> None:
        """From behind each letter that there is."""
        for number, letter in enumerate(self.model.dead, 1):
            page = self.run(self.opened.dead_letters(selector, after=letter.id, limit=limit))
            behind = [one.entry() for one in self.model.dead[number:]]
            assert page == [entry for entry in behind if selector.matches(entry.lane)][:limit]

    @rule()
    def wait(self) -> None:
        """There was news since the beginning, or there is none until now; both come back at once."""
        self.run(self.opened.wait(-1, self.clock.at))

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.loop.run_until_complete(self.opened.close())
            self.folder.cleanup()
        super().teardown()


TestSqliteQueueMachine = SqliteQueueMachine.TestCase
TestSqliteQueueMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, phases=[Phase.generate]
)
