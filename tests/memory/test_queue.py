from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ratesync.clock import Clock
from ratesync.memory.queue import MemoryQueue
from ratesync.testing.queue_suite import QueueSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return virtual_backend_options(request.param)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def queue_factory(self, clock: Clock) -> Callable[..., MemoryQueue]:
        return partial(MemoryQueue, clock=clock)
