"""A limit that nobody has told, met through the limiter in virtual time."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from ratesync.memory.limiter import MemoryLimiter
from ratesync.model.quota import Adaptive, Demand, Observation, Rate, Scope
from ratesync.testing.virtual_time import EPOCH, VirtualClock, run_virtual
from tests.rules.unknown_limit import LAN, WAN, Provider

SCOPE = Scope("acme", "ada")


async def drive(provider: Provider, demands: list[Demand], until: float, way: tuple[float, float], seed: int) -> None:
    """Fifty callers that always have work, until that many seconds have passed."""
    random, clock = Random(seed), VirtualClock()
    limiter = MemoryLimiter(clock=clock, cold_start=False)

    async def call() -> None:
        while True:
            permit = await limiter.acquire(demands)
            await anyio.sleep(random.uniform(*way) / 2)
            is_accepted = provider.answer(clock.now() - EPOCH)
            await anyio.sleep(random.uniform(*way) / 2)
            limiter.done(permit, Observation(throttled=not is_accepted))

    with anyio.move_on_after(until):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(call)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "seed"), [(LAN, 1), (WAN, 2), (WAN, 4)], ids=["lan-1", "wan-2", "wan-4"])
def test_an_unknown_limit_is_found_again_when_it_changes(way: tuple[float, float], seed: int) -> None:
    provider = Provider(((0.0, 100), (25.0, 40), (50.0, 150)))
    run_virtual(drive, provider, [Demand(SCOPE, Adaptive())], 85.0, way, seed)
    for since, until, limit, soon in ((0, 25, 100, 5), (25, 50, 40, 5), (50, 85, 150, 20)):
        assert provider.reached_after(since, until, limit) <= soon
        assert provider.mean_share(until - 12, until, limit) >= 0.95
        assert provider.refusals(until - 12, until) <= 10


def test_a_declared_quota_beside_it_is_never_exceeded() -> None:
    """Forty are declared; the provider allows thirty at first and then more than declared."""
    provider = Provider(((0.0, 30), (10.0, 100)))
    demands = [Demand(SCOPE, Adaptive()), Demand(SCOPE, Rate(40, per=1))]
    run_virtual(drive, provider, demands, 40.0, WAN, 3)
    assert provider.share(4, 10, 30) >= 0.95
    assert provider.share(30, 40, 40) >= 0.95
    in_each = [provider.between(provider.accepted, at, at + 1 - 1e-6) for at in provider.accepted]
    assert max(in_each) <= 40
