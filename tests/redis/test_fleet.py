"""Several limiters, as of several processes, on one server that may break."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import TaskGroup
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesync.clock import Clock, SystemClock
from ratesync.errors import LimiterError, PermitTimeout
from ratesync.memory import MemoryLimiter
from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.limiter_callers import StrictProvider, granted, refused
from tests.servers.valkey_server import Valkey

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # coredis leaves streams of connections open that never came about.
]

ADA = Scope("acme", "ada")
SLACK = 0.002


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop, as real time is spent here: both are tested in virtual time."""
    return "asyncio"


@asynccontextmanager
async def opened(
    server: Valkey, number: int = 1, *, dead_after: float = 15.0, prefix: str | None = None
) -> AsyncGenerator[list[RedisLimiter]]:
    """Limiters with clients of their own."""
    name = prefix or f"{uuid.uuid4().hex}:"
    limiters = [
        RedisLimiter(server.url, prefix=name, cold_start=False, dead_after=dead_after, timeout=0.5)
        for _ in range(number)
    ]
    for limiter in limiters:
        await limiter.open()
    try:
        yield limiters
    finally:
        for limiter in limiters:
            await limiter.close()


@define(eq=False)
class Fleet:
    """Callers of several limiters, and the strict provider that they call."""

    limiters: Sequence[RedisLimiter]
    demands: Sequence[Demand]
    clock: Clock = field(factory=SystemClock)
    provider: StrictProvider = field(factory=lambda: StrictProvider(SLACK))
    calls: list[float] = field(factory=list[float])

    def call_for_ever(self, tasks: TaskGroup, callers: int) -> None:
        """So many callers for each limiter."""
        for number in range(callers * len(self.limiters)):
            tasks.start_soon(self._call, self.limiters[number % len(self.limiters)], random.Random(number))

    async def _call(self, limiter: RedisLimiter, source: random.Random) -> None:
        while True:
            permit = await limiter.acquire(self.demands)
            self.provider.begin(self.demands)
            try:
                await anyio.sleep(source.random() / 50)
                self.provider.count(self.demands, self.clock.now())
                self.calls.append(self.clock.now())
                await anyio.sleep(source.random() / 50)
            finally:
                self.provider.end(self.demands)
                limiter.done(permit, Observation())

    def since(self, at: float) -> int:
        """Calls since an instant."""
        return sum(call >= at for call in self.calls)


def rate(permits: int, per: float, cost: int = 1) -> Demand:
    return Demand(ADA, Rate(permits, per=per), cost)


@given(
    limiters=st.integers(1, 3),
    permits=st.integers(1, 40),
    cost=st.integers(1, 3),
    at_once=st.integers(1, 10),
    per=st.sampled_from([0.1, 0.3, 0.5]),
)
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_quotas_are_none_is_exceeded(
    *, shared_valkey: Valkey, limiters: int, permits: int, cost: int, at_once: int, per: float
) -> None:
    async def run() -> list[str]:
        async with opened(shared_valkey, limiters) as opened_limiters:
            demands = [rate(permits + cost, per, cost), Demand(ADA, Concurrency(at_once))]
            fleet = Fleet(opened_limiters, [*demands, Demand(Scope("acme"), Rate(50, per=0.4))])
            async with anyio.create_task_group() as tasks:
                fleet.call_for_ever(tasks, 10)
                await anyio.sleep(1)
                tasks.cancel_scope.cancel()
            return fleet.provider.overfull

    assert anyio.run(run) == []


@pytest.mark.parametrize("how", ["flush", "restart"])
async def test_a_server_that_forgot_everything_lets_nobody_exceed_a_quota(valkey: Valkey, how: str) -> None:
    async with opened(valkey, 2, dead_after=3) as limiters:
        fleet = Fleet(limiters, [rate(40, 1), Demand(ADA, Concurrency(20))])
        async with anyio.create_task_group() as tasks:
            fleet.call_for_ever(tasks, 20)
            await anyio.sleep(1.3)
            if how == "flush":
                assert valkey.command("FLUSHALL") == "+OK"
            else:
                valkey.kill()
                await anyio.sleep(0.2)
                valkey.start()
            lost_at = fleet.clock.now()
            await anyio.sleep(3)
            tasks.cancel_scope.cancel()
            assert fleet.since(lost_at + 1.5) > 20
        assert fleet.provider.overfull == []


HOLDER = """
import sys, anyio
from ratesync.model.quota import Concurrency, Demand, Scope
from ratesync.memory import MemoryLimiter
from ratesync.redis import RedisLimiter

async def main():
    limiter = RedisLimiter(sys.argv[1], prefix=sys.argv[2], cold_start=False, dead_after=1.0)
    await limiter.open()
    await limiter.acquire([Demand(Scope("acme", "ada"), Concurrency(1))])
    print("held", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


async def test_what_a_dead_process_held_comes_back(shared_valkey: Valkey) -> None:
    prefix, calls = f"{uuid.uuid4().hex}:", Demand(ADA, Concurrency(1))
    command = [sys.executable, "-c", HOLDER, shared_valkey.url, prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  as short as it is
        try:
            assert process.stdout is not None
            assert await anyio.to_thread.run_sync(process.stdout.readline) == b"held\n"
            async with opened(shared_valkey, dead_after=1, prefix=prefix) as (limiter,):
                await anyio.sleep(1.3)
                await refused(limiter, calls)  # it is alive
                process.kill()
                with anyio.fail_after(10):
                    await limiter.acquire([calls])
        finally:
            process.kill()


async def test_while_the_server_is_away_nothing_is_granted(valkey: Valkey) -> None:
    clock = SystemClock()
    async with opened(valkey) as (limiter,):
        await granted(limiter, rate(9, 60))
        valkey.kill()
        with pytest.raises(LimiterError, match="Redis does not answer"):
            await limiter.reserve([rate(9, 60)])
        with pytest.raises(PermitTimeout):
            await limiter.acquire([rate(9, 60)], deadline=clock.now() + 0.3)
        with pytest.raises(LimiterError, match="Redis does not answer"):
            await limiter.snapshot([rate(9, 60)])


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_who_waits_goes_on_when_the_server_is_back(valkey: Valkey, how: str) -> None:
    permits = list[Permit]()
    async with opened(valkey, dead_after=3) as (limiter,), anyio.create_task_group() as tasks:

        async def wait() -> None:
            permits.append(await limiter.acquire([rate(9, 0.5)]))

        limiter.done(await granted(limiter, rate(9, 0.5, 9)), Observation())
        if how == "killed":
            valkey.kill()
        else:
            valkey.pause()
        tasks.start_soon(wait)
        await anyio.sleep(1)
        assert permits == []
        if how == "killed":
            valkey.start()
        else:
            valkey.resume()
    assert len(permits) == 1


async def test_what_was_leased_is_returned_when_a_limiter_closes(shared_valkey: Valkey) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    demands = [rate(90, 60), Demand(ADA, Concurrency(50))]
    async with opened(shared_valkey, prefix=prefix) as (limiter,):
        for _ in range(20):
            limiter.refund(await limiter.acquire(demands))
    async with opened(shared_valkey, prefix=prefix) as (limiter,):
        assert [state.used for state in await limiter.snapshot(demands)] == [0, 0]


async def test_a_share_is_granted_while_the_server_is_away(valkey: Valkey) -> None:
    share = MemoryLimiter(cold_start=False)
    limiter = RedisLimiter(valkey.url, cold_start=False, timeout=0.5, share=share)
    await limiter.open()
    try:
        await granted(limiter, rate(20, 60))
        valkey.kill()
        permits = [await limiter.acquire([rate(20, 60)]) for _ in range(16)]
        await refused(limiter, rate(20, 60))
        valkey.start()
        for permit in permits:
            limiter.done(permit, Observation())
        used = None
        with anyio.fail_after(10):
            while used != 17:
                await anyio.sleep(0.05)
                with suppress(LimiterError):  # not back yet
                    used = (await limiter.snapshot([rate(20, 60)]))[0].used
    finally:
        await limiter.close()


async def test_a_limiter_opens_again_during_its_close(valkey: Valkey) -> None:
    """Both come to their end, and it grants."""
    async with opened(valkey) as (limiter,):
        await granted(limiter, rate(9, 60))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(limiter.close)
            await anyio.lowlevel.checkpoint()
            await limiter.open()
        with anyio.fail_after(10):
            await granted(limiter, rate(9, 60))
