"""The limiters of the quota benchmark, each in the settings that suit it best, behind one way to drive them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib.util
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import anyio.lowlevel
from attrs import field, frozen

from benchmarks._quota_windows import Rules
from ratesync.memory import MemoryLimiter
from ratesync.model.feedback import Feedback, Reading
from ratesync.model.quota import Adaptive, Demand, FixedWindow, Observation, Penalty, Permit, Quota, Rate, Scope
from ratesync.protocols import Limiter

LONG = 3_600.0


@frozen
class Reply:
    """The server's answer to a call."""

    accepted: bool
    retry_after: float | None = None
    readings: tuple[Reading, ...] = ()

    @classmethod
    def parse(cls, line: bytes) -> Reply:
        """Read the server's line."""
        verdict, wait, *limits = line.split()
        return cls(
            verdict == b"A",
            None if wait == b"-" else float(wait),
            tuple(_reading(limit.split(b",")) for limit in limits),
        )


def _reading(parts: list[bytes]) -> Reading:
    limit, remaining, reset_after, per = parts
    return Reading(limit=int(limit), remaining=int(remaining), reset_after=float(reset_after), per=float(per))


class Contestant(Protocol):
    """A limiter as a caller uses it."""

    async def ask(self) -> Any:
        """Wait for leave to make one call."""
        ...

    async def tell(self, permit: Any, reply: Reply) -> None:
        """The call ended."""
        ...


@frozen
class Peer:
    """A limiter that learns nothing from answers: its callers wait themselves where the server asks for it."""

    wait: Callable[[], Awaitable[Any]]
    keeps: Any = None

    async def ask(self) -> None:
        """Wait for leave."""
        await self.wait()

    async def tell(self, permit: None, reply: Reply) -> None:
        """Wait as asked."""
        if reply.retry_after is not None:
            await asyncio.sleep(reply.retry_after)


@frozen
class RateSync:
    """A limiter of ratesync."""

    limiter: Limiter
    demands: list[Demand] = field(factory=list[Demand])

    async def ask(self) -> Permit:
        """Wait for a permit."""
        return await self.limiter.acquire(self.demands)

    async def tell(self, permit: Permit, reply: Reply) -> None:
        """Give the permit back."""
        feedback = Feedback(readings=reply.readings)
        self.limiter.done(
            permit, Observation(throttled=not reply.accepted, retry_after=reply.retry_after, feedback=feedback)
        )


def demands(rules: Rules) -> list[Demand]:
    """What one call takes."""
    scope = Scope("acme", "account")
    quotas: list[Quota] = [
        Rate(permits, per=per) if rules.kind == "sliding" else FixedWindow(permits, per=per)
        for permits, per in rules.limits
    ]
    if rules.penalty:
        quotas.append(Penalty(rules.penalty))
    if rules.steps:  # nobody knows the limit
        quotas = [Adaptive(per=rules.limits[0][1])]
    return [Demand(scope, quota) for quota in quotas]


async def ratesync_told(rules: Rules, redis: str | None) -> Contestant:
    """As it comes: it does not know what was used before, and the server tells."""
    return RateSync(await _ratesync(redis, cold_start=True), demands(rules))


async def ratesync_sure(rules: Rules, redis: str | None) -> Contestant:
    """Told that nobody used the quota before, as all the others take for granted."""
    return RateSync(await _ratesync(redis, cold_start=False), demands(rules))


async def _ratesync(redis: str | None, *, cold_start: bool) -> Limiter:
    limiter: Limiter
    if redis is None:
        limiter = MemoryLimiter(cold_start=cold_start)
    else:
        module = importlib.import_module("ratesync.redis")
        limiter = module.RedisLimiter(redis, cold_start=cold_start)
    await limiter.open()
    await anyio.lowlevel.checkpoint()  # or anyio would load its part for asyncio in the middle of the first window
    return limiter


def has_redis_limiter() -> bool:
    """Whether ratesync has a limiter on Redis yet."""
    return importlib.util.find_spec("ratesync.redis") is not None


async def aiolimiter_burst(rules: Rules, _: str | None) -> Contestant:
    """A leaky bucket as large as the limit, as the documentation of aiolimiter shows it."""
    from aiolimiter import AsyncLimiter

    return Peer(_all_of([AsyncLimiter(permits, per).acquire for permits, per in rules.limits]))


async def aiolimiter_smooth(rules: Rules, _: str | None) -> Contestant:
    """A leaky bucket of one."""
    from aiolimiter import AsyncLimiter

    return Peer(_all_of([AsyncLimiter(1, per / permits).acquire for permits, per in rules.limits]))


def _all_of(waits: list[Callable[[], Awaitable[Any]]]) -> Callable[[], Awaitable[Any]]:
    if len(waits) == 1:
        return waits[0]

    async def wait() -> None:
        for each in waits:
            await each()

    return wait


async def pyrate(rules: Rules, redis: str | None) -> Contestant:
    """pyrate-limiter: a sliding log of all rates in one bucket."""
    from pyrate_limiter import InMemoryBucket, Limiter, Rate, RedisBucket

    shortest_first = sorted(rules.limits, key=lambda limit: limit[1])
    rates = [Rate(permits, int(per * 1000)) for permits, per in shortest_first]
    bucket: Any
    if redis is None:
        bucket = InMemoryBucket(rates)
    else:
        bucket = await cast("Awaitable[Any]", RedisBucket.init(rates, _redis_client(redis), "bench"))
    limiter = Limiter(bucket)

    async def wait() -> None:
        while not await limiter.try_acquire_async("bench"):
            pass

    return Peer(wait, limiter)


async def limits_moving(rules: Rules, redis: str | None) -> Contestant:
    """limits: the moving window. It has no wait: callers sleep until its window says that it moves."""
    from limits import RateLimitItemPerSecond
    from limits.aio import storage, strategies

    items = [RateLimitItemPerSecond(permits, int(per)) for permits, per in rules.limits]
    kept: Any
    if redis is None:
        kept = storage.MemoryStorage()
    else:
        kept = storage.RedisStorage(f"async+{redis}", implementation="redispy", max_connections=1_000)
    limiter = strategies.MovingWindowRateLimiter(kept)

    async def wait_for(item: RateLimitItemPerSecond) -> None:
        while not await limiter.hit(item, "bench"):
            stats = await limiter.get_window_stats(item, "bench")
            await asyncio.sleep(max(0.001, stats.reset_time - time.time()))

    async def wait() -> None:
        for item in items:
            await wait_for(item)

    return Peer(wait, kept)


async def throttled_sliding(rules: Rules, redis: str | None) -> Contestant:
    """throttled-py: its sliding window, waiting by its timeout."""
    return _throttled("sliding_window", rules, redis)


async def throttled_token(rules: Rules, redis: str | None) -> Contestant:
    """throttled-py: its default, the token bucket, waiting by its timeout."""
    return _throttled("token_bucket", rules, redis)


async def throttled_gcra(rules: Rules, redis: str | None) -> Contestant:
    """throttled-py: GCRA, waiting by its timeout."""
    return _throttled("gcra", rules, redis)


def _throttled(algorithm: str, rules: Rules, redis: str | None) -> Contestant:
    from throttled.asyncio import MemoryStore, RedisStore, Throttled, per_duration

    store: Any = MemoryStore() if redis is None else RedisStore(server=redis, options={})
    throttles: list[Any] = [
        Throttled(
            key=f"bench{number}",
            using=algorithm,
            quota=per_duration(dt.timedelta(seconds=per), permits, burst=permits),
            store=store,
            timeout=LONG,
        )
        for number, (permits, per) in enumerate(rules.limits)
    ]

    async def wait() -> None:
        for throttle in throttles:
            while (await throttle.limit()).limited:
                pass

    return Peer(wait, store)


def _redis_client(url: str) -> Any:
    from redis.asyncio import Redis

    return cast("Any", Redis).from_url(url)


CONTESTANTS: dict[str, Callable[[Rules, str | None], Awaitable[Contestant]]] = {
    "ratesync": ratesync_told,
    "ratesync untold": ratesync_sure,
    "ratesync doubtful": ratesync_told,
    "aiolimiter burst=limit": aiolimiter_burst,
    "aiolimiter burst=1": aiolimiter_smooth,
    "pyrate-limiter": pyrate,
    "limits moving": limits_moving,
    "throttled sliding": throttled_sliding,
    "throttled token": throttled_token,
    "throttled gcra": throttled_gcra,
}
"""Who takes part. The server tells only "ratesync" how the limits stand; nobody else would listen. "untold" and
"doubtful" hear nothing: the first knows that nobody used the quota before, the second does not."""

TOLD = {"ratesync"}
SHARED = {"ratesync", "ratesync untold", "pyrate-limiter", "limits moving", "throttled gcra"}
"""Those that several processes can share on Redis."""


def ours(name: str) -> bool:
    """Whether it is ratesync."""
    return name.startswith("ratesync")


async def close(contestant: Contestant) -> None:
    """Let go of connections, as far as is needed before the process ends."""
    if isinstance(contestant, RateSync):
        with contextlib.suppress(Exception):
            await contestant.limiter.close()
