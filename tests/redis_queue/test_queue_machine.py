"""The queue in Redis against the simple model, in lockstep."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from tests.memory.queue_model import QueueModel
from tests.memory.test_queue_machine import LEASE_SECONDS, QueueMachine
from tests.servers.valkey_server import Valkey


class RedisQueueMachine(QueueMachine):
    server: ClassVar[Valkey]

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
        self.server.command("FLUSHALL")
        self.opened = RedisQueue(
            RedisServer.from_url(self.server.url, durability=Durability.PROCESS), clock=self.clock, **options
        )
        self.queue = self.opened  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self.run(self.opened.open())

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.loop.run_until_complete(self.opened.close())
        super().teardown()


@pytest.mark.timeout(300)
def test_redis_queue_machine(valkey: Valkey) -> None:
    class Machine(RedisQueueMachine):
        server = valkey

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=30, stateful_step_count=40, deadline=None, phases=[Phase.generate]),
    )
