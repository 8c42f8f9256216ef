"""What a limiter costs: measurements of the quota benchmark without a server."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks._quota_limiters import CONTESTANTS, Contestant, Reply, has_redis_limiter
from benchmarks._quota_redis import running_redis
from benchmarks._quota_windows import Rules
from ratesync.memory import MemoryLimiter
from ratesync.model.quota import Demand, Observation, Rate, Scope

WIDE = Rules(limits=((1_000_000_000, 1.0),))
YES = Reply(accepted=True)
DONE = Observation()


def per_cpu_second(work: Callable[[int], Awaitable[Any]], quick: bool) -> float:
    """How often ``work`` does its thing in a second of CPU; the best of several, as other jobs run here too."""

    async def run() -> float:
        await work(1_000)
        best = 0.0
        for _ in range(3 if quick else 8):
            gc.collect()
            started = time.process_time()
            await work(20_000)
            best = max(best, 20_000 / (time.process_time() - started))
        return best

    return asyncio.run(run())


def uncontended(quick: bool) -> Mapping[str, float]:
    """Ratesync in memory: a permit when nobody waits, and with giving it back."""
    limiter = MemoryLimiter(cold_start=False)
    demands = [Demand(Scope("acme", "account"), Rate(1_000_000_000, per=1.0))]

    async def acquire(count: int) -> None:
        for _ in range(count):
            await limiter.acquire(demands)

    async def whole(count: int) -> None:
        for _ in range(count):
            limiter.done(await limiter.acquire(demands), DONE)

    return {"acquire/s": per_cpu_second(acquire, quick), "acquire+done/s": per_cpu_second(whole, quick)}


def _uncontended_peer(name: str) -> Callable[[bool], Mapping[str, float]]:
    def measure(quick: bool) -> Mapping[str, float]:
        made: list[Contestant] = []

        async def acquire(count: int) -> None:
            if not made:
                made.append(await CONTESTANTS[name](WIDE, None))
            ask = made[0].ask
            for _ in range(count):
                await ask()

        return {"acquire/s": per_cpu_second(acquire, quick)}

    return measure


def idle_scopes(quick: bool) -> Mapping[str, float]:
    """10,000 scopes that are full, and nobody asks: percent of one core."""
    seconds = 2 if quick else 10

    async def run() -> float:
        limiter = MemoryLimiter(cold_start=False)
        quota = Rate(1, per=3_600.0)
        for number in range(10_000):
            limiter.done(await limiter.acquire([Demand(Scope("acme", f"account{number}"), quota)]), DONE)
        await asyncio.sleep(0.5)
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        return (time.process_time() - cpu) / seconds * 100

    return {"percent": asyncio.run(run())}


def scopes_seen(quick: bool) -> Mapping[str, float]:
    """1,000,000 scopes, each used once, after 1,000,000 others (quick: 200,000): resident bytes for each."""
    count = 200_000 if quick else 1_000_000

    async def run() -> float:
        limiter = MemoryLimiter(cold_start=False)
        quota = Rate(10, per=0.01)

        async def use(first: int, last: int) -> None:
            for number in range(first, last):
                limiter.done(await limiter.acquire([Demand(Scope("acme", f"account{number}"), quota)]), DONE)
                if number % 100 == 0:
                    await asyncio.sleep(0)

        await use(0, count)  # until as many come as go, however fast the machine is now
        gc.collect()
        before = _resident()
        await use(count, 2 * count)
        gc.collect()
        return (_resident() - before) / count

    return {"bytes": asyncio.run(run())}


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * resource.getpagesize()


def _redis_grants(name: str) -> Callable[[bool], Mapping[str, float]]:
    def measure(quick: bool) -> Mapping[str, float]:
        seconds = 1.5 if quick else 4.0

        async def run(url: str) -> float:
            contestant = await CONTESTANTS[name](WIDE, url)
            granted = 0
            until = time.monotonic() + seconds

            async def ask() -> None:
                nonlocal granted
                while time.monotonic() < until:
                    permit = await contestant.ask()
                    await contestant.tell(permit, YES)
                    granted += 1

            started = time.monotonic()
            await asyncio.gather(*[ask() for _ in range(50)])
            return granted / (time.monotonic() - started)

        with running_redis() as url:
            return {"grants/s": asyncio.run(run(url))}

    return measure


MEASUREMENTS: dict[str, Callable[[bool], Mapping[str, float]]] = {
    "ratesync": uncontended,
    "aiolimiter": _uncontended_peer("aiolimiter burst=limit"),
    "pyrate-limiter": _uncontended_peer("pyrate-limiter"),
    "limits": _uncontended_peer("limits moving"),
    "throttled-py": _uncontended_peer("throttled sliding"),
    "idle scopes": idle_scopes,
    "scopes seen": scopes_seen,
}
ON_REDIS: dict[str, Callable[[bool], Mapping[str, float]]] = {
    "redis pyrate-limiter": _redis_grants("pyrate-limiter"),
    "redis limits": _redis_grants("limits moving"),
    "redis throttled-py": _redis_grants("throttled gcra"),
}
if has_redis_limiter():
    ON_REDIS["redis ratesync"] = _redis_grants("ratesync untold")
ALL = MEASUREMENTS | ON_REDIS
