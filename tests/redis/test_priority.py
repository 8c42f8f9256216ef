"""Who is privileged, and those who lack only kept permits: as in memory, though permits are leased ahead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import anyio
import pytest

from ratesync.model.quota import Concurrency, Demand, Observation, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.cancellation import CheckpointCanceller
from ratesync.testing.limiter_callers import calling, granted, spend
from ratesync.testing.virtual_time import VirtualClock, run_virtual
from tests.redis.virtual_server import VirtualServer, workers
from tests.servers.valkey_server import Valkey

ADA, BOB = Scope("acme", "ada"), Scope("acme", "bob")
MOMENT = 0.01
KEPT = Demand(ADA, Concurrency(2, reserve=0.5))
OTHER = Demand(Scope("acme"), Concurrency(1))
LONGER_THAN_A_STEP = 70.0
MOST_PASSED = {"the same": 3, "more": 15}
"""Grants to others between a question of a privileged caller and its permit: of what was ready at that moment. It would
be all fifty of them if they had what was leased for them."""

Script = Callable[[RedisLimiter], Awaitable[None]]


@contextmanager
def serving(valkey: Valkey) -> Generator[VirtualServer]:
    server = VirtualServer(valkey.port, VirtualClock())
    try:
        yield server
    finally:
        server.close()


def run(valkey: Valkey, script: Script) -> None:
    async def main() -> None:
        async with workers(server) as (limiter,):
            await script(limiter)

    with serving(valkey) as server:
        run_virtual(main)


def test_a_privileged_caller_sleeps_while_who_comes_first_waits_behind_somebody_elsewhere(
    shared_valkey: Valkey,
) -> None:
    """All that the first one wants is free, so it lacks nothing that is kept from it, and is not to be passed."""

    async def script(limiter: RedisLimiter) -> None:
        middle = Demand(BOB, Concurrency(1))
        elsewhere = await granted(limiter, OTHER)
        async with CheckpointCanceller(500) as watch, calling(limiter, VirtualClock(), MOMENT) as callers:
            await callers.line_up("elsewhere", middle, OTHER)
            await callers.line_up("first", KEPT, middle)
            await anyio.sleep(LONGER_THAN_A_STEP)
            await callers.line_up("privileged", KEPT, priority=1)
            begun = watch.count
            await anyio.sleep(1000)
            assert watch.count - begun < 10
            assert callers.served == []
            limiter.done(elsewhere, Observation())
            await anyio.sleep(1)
            assert callers.served == ["elsewhere"]
            callers.end("elsewhere")
            await anyio.sleep(1)
            assert set(callers.served) == {"elsewhere", "first", "privileged"}
        assert not watch.reached

    run(shared_valkey, script)


def test_a_privileged_caller_passes_who_lacks_only_kept_permits_once_that_is_so(shared_valkey: Valkey) -> None:
    """The permit that decides it comes back where the privileged caller is not in line."""

    async def script(limiter: RedisLimiter) -> None:
        await granted(limiter, KEPT)
        elsewhere = await granted(limiter, OTHER)
        async with calling(limiter, VirtualClock(), MOMENT) as callers:
            await callers.line_up("normal", KEPT, OTHER)
            await anyio.sleep(LONGER_THAN_A_STEP)
            await callers.line_up("high", KEPT, priority=1)
            await anyio.sleep(1)
            assert callers.served == []
            limiter.done(elsewhere, Observation())
            await anyio.sleep(1)
            assert callers.served == ["high"]

    run(shared_valkey, script)


@pytest.mark.parametrize("kind", ["calls", "rate"])
def test_who_waits_behind_one_that_lacks_only_kept_permits_holds_nobody_up_either(
    shared_valkey: Valkey, kind: str
) -> None:
    """The second lacks nothing but its turn, and kept permits: for the third it is as if it were not there."""
    free = Demand(BOB, Concurrency(3) if kind == "calls" else Rate(3, per=1_000))

    async def script(limiter: RedisLimiter) -> None:
        await granted(limiter, KEPT)
        async with calling(limiter, VirtualClock(), MOMENT) as callers:
            await callers.line_up("first", KEPT)
            await callers.line_up("second", KEPT, free)
            await anyio.sleep(LONGER_THAN_A_STEP)
            await callers.line_up("third", free, priority=1)
            await anyio.sleep(0.2)
            assert callers.served == ["third"]

    run(shared_valkey, script)


@pytest.mark.parametrize("demands", ["the same", "more"])
def test_a_higher_priority_is_served_from_what_was_leased_for_others(shared_valkey: Valkey, demands: str) -> None:
    """Many wait and permits are leased ahead for them: one of them, or the next one, is for who comes first."""
    rate = Demand(ADA, Rate(200, per=1))
    more: Sequence[Demand] = [rate] if demands == "the same" else [rate, Demand(BOB, Concurrency(5))]

    grants = 0

    async def call(limiter: RedisLimiter) -> None:
        nonlocal grants
        while True:
            permit = await limiter.acquire([rate])
            grants += 1
            await anyio.sleep(0.001)
            limiter.done(permit, Observation())

    async def script(limiter: RedisLimiter) -> None:
        passed = list[int]()
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(call, limiter)
                await anyio.sleep(0.0013 * number)
            for number in range(30):
                before = grants
                limiter.done(await limiter.acquire(more, priority=2), Observation())
                passed.append(grants - before)
                await anyio.sleep(0.0371 * (number % 4))
            tasks.cancel_scope.cancel()
        assert max(passed) <= MOST_PASSED[demands], passed

    run(shared_valkey, script)


def test_a_single_ready_permit_in_stock_goes_to_who_is_privileged(shared_valkey: Valkey) -> None:
    rate = Demand(ADA, Rate(4, per=10))

    async def script(limiter: RedisLimiter) -> None:
        await spend(limiter, rate._replace(cost=4))
        async with calling(limiter, VirtualClock(), MOMENT) as callers:
            for number in range(4):
                await callers.line_up(str(number), rate)
            await anyio.sleep(9)
            await callers.line_up("high", rate, priority=1)
            await anyio.sleep(1)
            assert callers.served == ["high", "0", "1", "2"]

    run(shared_valkey, script)
