from __future__ import annotations

import pytest

from ratesync.clock import Clock
from ratesync.memory.limiter import MemoryLimiter
from ratesync.testing.limiter_suite import LimiterSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return virtual_backend_options(request.param)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class TestMemoryLimiter(LimiterSuite):
    late = 0.002
    moment = 1e-4

    @pytest.fixture
    def limiter(self, clock: Clock) -> MemoryLimiter:
        return MemoryLimiter(clock=clock)
