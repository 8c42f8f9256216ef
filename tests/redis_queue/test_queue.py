"""The conformance suite against a real server, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.testing.queue_suite import QueueSuite
from ratesync.testing.virtual_time import VirtualClock
from tests.redis_queue.live_time import Barrier, LiveRun, live_loop
from tests.servers.valkey_server import Valkey

PREFIXES = count()
NEVER = 1e6
"""Seconds until an answer would be late."""


@pytest.fixture(scope="module")
def barrier(shared_valkey: Valkey) -> Iterator[Barrier]:
    barrier = Barrier(shared_valkey)
    yield barrier
    barrier.close()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, barrier: Barrier) -> tuple[str, dict[str, object]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": live_loop(barrier)}
    run = LiveRun(barrier)
    return "trio", {"clock": run.clock, "instruments": [run]}


class TestRedisQueue(QueueSuite):
    crowd = 10_000

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def queue_factory(self, clock: VirtualClock, shared_valkey: Valkey) -> Callable[..., RedisQueue]:
        def make(**options: Any) -> RedisQueue:
            server = RedisServer.from_url(
                shared_valkey.socket_url,
                prefix=f"{next(PREFIXES)}",
                durability=Durability.PROCESS,
                timeout=NEVER,
                patience=NEVER,
                clock=clock,
            )
            return RedisQueue(server, clock=clock, **options)

        return make
