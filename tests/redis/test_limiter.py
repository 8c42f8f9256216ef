from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from ratesync.clock import Clock, SystemClock
from ratesync.redis import RedisLimiter
from ratesync.testing.limiter_suite import LimiterSuite
from tests.servers.valkey_server import Valkey


@pytest.mark.slow
class TestRedisLimiter(LimiterSuite):
    """The conformance suite, against a real server and in real time."""

    second = 0.2
    late = 0.2
    moment = 0.012
    slack = 0.001

    @override
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    async def limiter(self, shared_valkey: Valkey, clock: Clock) -> AsyncIterator[RedisLimiter]:
        limiter = RedisLimiter(shared_valkey.url, prefix=f"{uuid.uuid4().hex}:", cold_start=False, clock=clock)
        await limiter.open()
        yield limiter
        await limiter.close()
