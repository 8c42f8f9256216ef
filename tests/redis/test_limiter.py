"""The conformance suite against a real server: all of it in virtual time, and some of it in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from typing_extensions import override

from ratesync.clock import Clock
from ratesync.redis import RedisLimiter
from ratesync.testing.limiter_suite import LimiterSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options
from tests.redis.virtual_server import VirtualServer, workers
from tests.servers.valkey_server import Valkey


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return virtual_backend_options(request.param)


class TestRedisLimiter(LimiterSuite):
    """Time is injected on both sides: see `tests.redis.virtual_server`."""

    late = 0.02
    moment = 0.05
    slack = 1e-5

    @override
    @pytest.fixture
    def clock(self) -> Clock:
        return VirtualClock()

    @pytest.fixture
    def server(self, shared_valkey: Valkey, clock: Clock) -> Iterator[VirtualServer]:
        server = VirtualServer(shared_valkey.port, clock)
        yield server
        server.close()

    @pytest.fixture
    async def limiter(self, server: VirtualServer) -> AsyncIterator[RedisLimiter]:
        async with workers(server) as (limiter,):
            yield limiter
