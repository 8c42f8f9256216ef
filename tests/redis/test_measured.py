"""A limit that nobody has told, measured by several workers together: on a real server, in virtual time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.model.quota import Adaptive, Demand, Observation, Permit, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.limiter_callers import granted
from ratesync.testing.virtual_time import EPOCH, Backend, VirtualClock, run_virtual
from tests.redis.virtual_server import VirtualServer, jittery, workers
from tests.rules.unknown_limit import LAN, WAN, Provider
from tests.servers.valkey_server import Valkey

SCOPE = Scope("acme", "ada")
UNKNOWN = Demand(SCOPE, Adaptive())
REFUSED = Observation(throttled=True)
SOON = 0.05
"""Seconds after which every worker has surely told and heard all."""


@contextmanager
def serving(valkey: Valkey, latency: tuple[float, float] = (0.0002, 0.0006)) -> Generator[VirtualServer]:
    server = VirtualServer(valkey.port, VirtualClock(), jittery(*latency))
    try:
        yield server
    finally:
        server.close()


async def limit(limiter: RedisLimiter) -> int | None:
    (state,) = await limiter.snapshot([UNKNOWN])
    return state.limit


async def cut_to(limiters: Sequence[RedisLimiter], accepted: int) -> None:
    """So many calls are under way when one more is refused; then they end."""
    permits = [await granted(limiters[number % len(limiters)], UNKNOWN) for number in range(accepted)]
    limiters[0].done(await granted(limiters[0], UNKNOWN), REFUSED)
    await anyio.sleep(SOON)
    for number, permit in enumerate(permits):
        limiters[number % len(limiters)].done(permit, Observation())
    await anyio.sleep(SOON)


async def drive(
    server: VirtualServer, provider: Provider, demands: list[Demand], until: float, way: tuple[float, float]
) -> None:
    """Fifty callers of two workers that always have work, until that many seconds have passed."""
    random, clock = Random(str(way)), server.clock

    async def call(limiter: RedisLimiter) -> None:
        while True:
            permit = await limiter.acquire(demands)
            await anyio.sleep(random.uniform(*way) / 2)
            is_accepted = provider.answer(clock.now() - EPOCH)
            await anyio.sleep(random.uniform(*way) / 2)
            limiter.done(permit, Observation(throttled=not is_accepted))

    async with workers(server, 2) as limiters:
        with anyio.move_on_after(until):
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(call, limiters[number % 2])


def pace(provider: Provider, since: float, until: float, allowed: int) -> float:
    """Seconds that whole windows of calls need, beside what they took.

    Calls come in bursts, so how many of them lie between two instants may differ by a whole window.
    """
    instants = [at for at in provider.accepted if since <= at < until]
    windows = (len(instants) - 1) // allowed
    return windows * provider.window / (instants[windows * allowed] - instants[0])


@pytest.mark.slow
@pytest.mark.parametrize("way", [LAN, WAN], ids=["lan", "wan"])
def test_two_workers_find_a_limit_again_when_it_changes(shared_valkey: Valkey, way: tuple[float, float]) -> None:
    provider = Provider(((0.0, 100), (30.0, 40), (60.0, 150)))
    with serving(shared_valkey) as server:
        run_virtual(drive, server, provider, [UNKNOWN], 110.0, way)
    for since, until, allowed, soon in ((0, 30, 100, 5), (30, 60, 40, 5), (60, 110, 150, 20)):
        assert provider.reached_after(since, until, allowed) <= soon
        assert pace(provider, until - 18, until, allowed) >= 0.95
        assert provider.refusals(until - 18, until) < 10


def test_a_declared_quota_beside_it_is_never_exceeded(shared_valkey: Valkey) -> None:
    """Forty are declared; the provider allows thirty at first and then more than declared."""
    provider = Provider(((0.0, 30), (15.0, 100)))
    with serving(shared_valkey) as server:
        run_virtual(drive, server, provider, [UNKNOWN, Demand(SCOPE, Rate(40, per=1))], 45.0, WAN)
    assert pace(provider, 5, 15, 30) >= 0.95
    assert pace(provider, 32, 45, 40) >= 0.95
    in_each = [provider.between(provider.accepted, at, at + 1 - 1e-5) for at in provider.accepted]
    assert max(in_each) <= 40


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_refusal_that_one_worker_sees_holds_for_all(shared_valkey: Valkey, backend: Backend) -> None:
    async def run() -> None:
        async with workers(server, 2) as (ada, bob):
            assert await limit(bob) is None
            await cut_to([ada, bob], 7)
            assert [await limit(ada), await limit(bob)] == [7, 7]

    with serving(shared_valkey) as server:
        run_virtual(run, backend=backend)


def test_after_a_cut_calls_of_all_workers_go_one_at_a_time_until_one_is_accepted(shared_valkey: Valkey) -> None:
    async def run() -> None:
        got = list[tuple[RedisLimiter, Permit]]()

        async def wait(limiter: RedisLimiter) -> None:
            got.append((limiter, await limiter.acquire([UNKNOWN])))

        async with workers(server, 2) as limiters:
            await cut_to(limiters, 6)
            await anyio.sleep(1.2)  # the window is empty
            async with anyio.create_task_group() as tasks:
                for number in range(6):
                    tasks.start_soon(wait, limiters[number % 2])
                await anyio.sleep(1)
                assert len(got) == 1
                limiter, permit = got[0]
                limiter.done(permit, Observation())
                await anyio.sleep(0.3)
                assert len(got) == 6

    with serving(shared_valkey) as server:
        run_virtual(run)


def test_who_goes_alone_and_gives_up_lets_the_next_one_try(shared_valkey: Valkey) -> None:
    async def run() -> None:
        async with workers(server, 2) as (ada, bob):
            await cut_to([ada, bob], 6)
            await anyio.sleep(1.2)
            ada.refund(await ada.acquire([UNKNOWN]))
            with anyio.fail_after(0.5):
                await bob.acquire([UNKNOWN])

    with serving(shared_valkey) as server:
        run_virtual(run)


def test_who_goes_alone_and_dies_is_not_waited_for_long(shared_valkey: Valkey) -> None:
    async def run() -> None:
        async with workers(server, 2) as (ada, bob):
            await cut_to([ada, bob], 6)
            await anyio.sleep(1.2)
            await ada.acquire([UNKNOWN])  # never ends
            with anyio.fail_after(6):
                await bob.acquire([UNKNOWN])

    with serving(shared_valkey) as server:
        run_virtual(run)


@given(
    fates=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=2, max_size=14),
    seed=st.integers(0, 5),
)
@settings(max_examples=40)
def test_whoever_is_faster_no_refusal_is_lost(
    shared_valkey_of_module: Valkey, fates: list[tuple[bool, bool, int]], seed: int
) -> None:
    """Calls of two workers are under way together and come back in bunches: what was accepted is the limit."""

    async def run() -> None:
        async with workers(server, 2) as limiters:
            calls = [(limiters[is_ada], await granted(limiters[is_ada], UNKNOWN), fate) for is_ada, *fate in fates]
            for bunch in range(4):
                for limiter, permit, (is_accepted, when) in calls:
                    if when == bunch:
                        limiter.done(permit, Observation(throttled=not is_accepted))
                await anyio.sleep(source.choice([0.0, 0.0005, 0.001, 0.01]))
            await anyio.sleep(SOON)
            accepted = sum(is_accepted for _, is_accepted, _ in fates)
            for limiter in limiters:
                assert await limit(limiter) == (None if accepted == len(fates) else max(1, accepted))

    source = Random(seed)
    with serving(shared_valkey_of_module, (0.0002, 0.004)) as server:
        run_virtual(run)


@pytest.fixture(scope="module")
def shared_valkey_of_module(shared_valkey: Valkey) -> Valkey:
    return shared_valkey


def test_a_cost_above_the_estimate_lifts_it(shared_valkey: Valkey) -> None:
    async def run() -> None:
        async with workers(server, 2) as (ada, bob):
            await cut_to([ada, bob], 3)
            await anyio.sleep(1.2)
            with anyio.fail_after(3):
                permit = await bob.acquire([UNKNOWN._replace(cost=5)])
            bob.done(permit, Observation())
            assert await limit(ada) == 5

    with serving(shared_valkey) as server:
        run_virtual(run)


def test_a_server_that_lost_the_estimate_is_told_it_again(valkey: Valkey) -> None:
    async def run() -> None:
        async with workers(server, 2, dead_after=3) as limiters:
            await cut_to(limiters, 7)
            assert await limit(limiters[0]) == 7
            server.command("FLUSHALL")
            await anyio.sleep(4)
            for limiter in limiters:
                assert await limit(limiter) == 7

    with serving(valkey) as server:
        run_virtual(run)
