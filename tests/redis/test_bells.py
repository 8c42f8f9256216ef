"""Who waits for permits that others hold gets them as soon as they are free: on a real server, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio
import pytest
from attrs import define, field

from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Scope
from ratesync.redis import RedisLimiter
from ratesync.testing.limiter_callers import StrictProvider
from ratesync.testing.virtual_time import Backend, VirtualClock, run_virtual
from tests.redis.virtual_server import VirtualServer, workers
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.slow
ADA = Scope("acme", "ada")
CALL = 0.02
"""Seconds of a call."""
SOON = 0.01
"""Seconds in which some exchanges fit, and no question that is asked from time to time."""


def at_once(permits: int, cost: int = 1, *, reserve: float = 0.0) -> list[Demand]:
    return [Demand(ADA, Concurrency(permits, reserve=reserve), cost)]


def run(valkey: Valkey, main: Callable[[VirtualServer], Awaitable[None]], backend: Backend = "asyncio") -> None:
    server = VirtualServer(valkey.port, VirtualClock())
    try:
        run_virtual(main, server, backend=backend)
    finally:
        server.close()


@define(eq=False)
class Callers:
    """Callers of several workers, who never rest, and the strict provider that they call."""

    server: VirtualServer
    demands: Sequence[Sequence[Demand]]
    """What the callers of each worker want."""
    each: int
    """Callers of a worker."""
    seconds: float = 5.0
    lasts: float = CALL
    """Seconds of a call, about."""
    rests: float = 0.0
    """Seconds between two calls of a caller."""
    provider: StrictProvider = field(factory=lambda: StrictProvider(0.0))
    calls: Counter[int] = field(factory=Counter[int])
    longest: float = 0.0
    """Seconds that somebody waited."""

    async def run(self) -> None:
        async with workers(self.server, len(self.demands)) as limiters, anyio.create_task_group() as tasks:
            for number, limiter in enumerate(limiters):
                for place in range(self.each):
                    tasks.start_soon(self.call, number, limiter, Random(number * 100 + place))
            await anyio.sleep(1)
            self.calls.clear()
            self.longest = 0.0
            self.server.exchanges = 0
            await anyio.sleep(self.seconds)
            tasks.cancel_scope.cancel()

    async def call(self, number: int, limiter: RedisLimiter, source: Random) -> None:
        demands = self.demands[number]
        while True:
            began_at = anyio.current_time()
            permit = await limiter.acquire(demands)
            self.longest = max(self.longest, anyio.current_time() - began_at)
            self.provider.begin(demands)
            await anyio.sleep(self.lasts * source.uniform(0.8, 1.2))
            self.provider.end(demands)
            limiter.done(permit, Observation())
            self.calls[number] += 1
            await anyio.sleep(self.rests * source.uniform(0.5, 1.5))


@pytest.mark.parametrize(("number", "each"), [(2, 8), (4, 8), (8, 4), (20, 2)])
def test_workers_that_share_calls_make_as_many_as_one_and_each_its_part(
    shared_valkey: Valkey, number: int, each: int
) -> None:
    async def main(server: VirtualServer) -> None:
        callers = Callers(server, [at_once(4)] * number, each)
        await callers.run()
        ideal = 4 / CALL * callers.seconds
        assert callers.calls.total() >= 0.9 * ideal
        assert min(callers.calls[worker] for worker in range(number)) >= 0.8 * ideal / number
        assert callers.longest < 0.5
        assert server.exchanges < 2.25 * callers.calls.total()

    run(shared_valkey, main)


def test_workers_within_their_part_ask_the_server_seldom(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        callers = Callers(server, [at_once(8)] * 4, 8)
        await callers.run()
        assert server.exchanges < 0.135 * callers.calls.total()

    run(shared_valkey, main)


@pytest.mark.parametrize(
    ("fleet", "rate", "permits", "most"), [((4, 8), 100, 10, 1.45), ((3, 10), 300, 20, 1.45), ((3, 50), 300, 50, 0.63)]
)
def test_calls_that_wait_for_a_rate_do_not_fight_for_permits_of_calls(
    shared_valkey: Valkey, fleet: tuple[int, int], rate: int, permits: int, most: float
) -> None:
    """What is leased for calls that will be made soon holds permits of calls, and is not missed by anybody yet."""

    async def main(server: VirtualServer) -> None:
        number, each = fleet
        demands = [*at_once(permits), Demand(ADA, Rate(rate, per=1))]
        callers = Callers(server, [demands] * number, each, lasts=0.05)
        await callers.run()
        # The server draws by lot who hears that somebody waits: 97.1 to 98.7 % in 50 runs of the second fleet.
        assert callers.calls.total() >= 0.95 * rate * callers.seconds
        assert min(callers.calls[worker] for worker in range(number)) >= 0.5 * rate * callers.seconds / number
        assert server.exchanges < most * callers.calls.total()

    run(shared_valkey, main)


def test_who_rests_between_calls_leaves_its_permits_to_others(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        callers = Callers(server, [at_once(2)] * 4, 1, rests=0.05)
        await callers.run()
        assert callers.longest < 0.1
        assert callers.calls.total() >= 4 * callers.seconds / (0.05 + 2.2 * CALL)

    run(shared_valkey, main)


@pytest.mark.parametrize(("number", "permits", "cost"), [(2, 4, 3), (3, 4, 3), (2, 4, 4), (8, 10, 5)])
def test_calls_that_cost_much_are_not_passed_by_for_ever(
    shared_valkey: Valkey, number: int, permits: int, cost: int
) -> None:
    async def main(server: VirtualServer) -> None:
        callers = Callers(server, [at_once(permits, cost), *[at_once(permits)] * (number - 1)], 4)
        await callers.run()
        assert callers.longest < 1
        assert all(callers.calls[worker] > 50 for worker in range(number))

    run(shared_valkey, main)


async def keep_busy(limiter: RedisLimiter, demands: Sequence[Demand], calls: int) -> None:
    """Make so many calls that permits are kept for the next ones."""
    for _ in range(calls):
        permit = await limiter.acquire(demands)
        await anyio.sleep(0.001)
        limiter.done(permit, Observation())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_permit_that_is_kept_for_the_next_call_is_returned_when_another_worker_wants_it(
    shared_valkey: Valkey, backend: Backend
) -> None:
    async def main(server: VirtualServer) -> None:
        async with workers(server, 2) as (ada, bob):
            await keep_busy(ada, at_once(1), 20)
            with anyio.fail_after(SOON):
                await bob.acquire(at_once(1))

    run(shared_valkey, main, backend)


def test_a_call_that_ends_lets_the_next_worker_in_line_go_on(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        got = list[str]()

        async def wait(name: str, limiter: RedisLimiter) -> None:
            await limiter.acquire(at_once(1))
            got.append(name)

        async with workers(server, 3) as (ada, bob, cleo), anyio.create_task_group() as tasks:
            permit = await ada.acquire(at_once(1))
            tasks.start_soon(wait, "bob", bob)
            await anyio.sleep(0.3)
            tasks.start_soon(wait, "cleo", cleo)
            await anyio.sleep(0.3)
            ada.done(permit, Observation())
            await anyio.sleep(SOON)
            assert got == ["bob"]
            tasks.cancel_scope.cancel()

    run(shared_valkey, main)


def test_who_gives_up_lets_the_next_one_in_line_go_on(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        async with workers(server, 3) as (ada, bob, cleo), anyio.create_task_group() as tasks:
            permit = await ada.acquire(at_once(1))
            with anyio.move_on_after(0.305):
                await bob.acquire(at_once(1))

            async def wait() -> None:
                await cleo.acquire(at_once(1))
                served.set()

            served = anyio.Event()
            tasks.start_soon(wait)
            await anyio.sleep(SOON)
            ada.done(permit, Observation())  # bob is first in line, as far as the server knows
            with anyio.fail_after(SOON):
                await served.wait()

    run(shared_valkey, main)


def test_a_dead_worker_that_is_first_in_line_is_passed_by(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        bob = RedisLimiter(server.silenceable(7), prefix="bells:", cold_start=False, clock=server.clock)
        await bob.open()
        async with workers(server, 2, prefix="bells:") as (ada, cleo), anyio.create_task_group() as tasks:
            permit = await ada.acquire(at_once(1))
            tasks.start_soon(bob.acquire, at_once(1))
            await anyio.sleep(0.1)
            server.silenced.add(7)
            with anyio.fail_after(1.5):
                tasks.start_soon(keep_busy, cleo, at_once(1), 1)
                await anyio.sleep(0.1)
                ada.done(permit, Observation())
                await cleo.acquire(at_once(1))
            tasks.cancel_scope.cancel()
        server.silenced.clear()
        await bob.close()

    run(shared_valkey, main)


def test_keys_of_those_who_hold_and_wait_have_a_lifetime_and_forget_the_dead(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        prefix = "lifetimes:"
        server.flush(prefix)
        bob = RedisLimiter(server.silenceable(7), prefix=prefix, cold_start=False, clock=server.clock, dead_after=1.0)
        await bob.open()
        async with workers(server, 1, prefix=prefix) as (ada,), anyio.create_task_group() as tasks:
            await bob.acquire(at_once(1))
            assert all(int(server.command("PTTL", key)) > 0 for key in server.command("KEYS", f"{prefix}*"))
            tasks.start_soon(ada.acquire, at_once(1))
            await anyio.sleep(0.1)
            kinds = {key: server.command("TYPE", key) for key in server.command("KEYS", f"{prefix}*")}
            assert sorted(kinds.values()) == ["hash", "hash", "hash", "hash", "set", "stream", "zset"]
            assert all(int(server.command("PTTL", key)) > 0 for key in kinds)
            (holders,) = [key for key, kind in kinds.items() if kind == "set"]
            (dead,) = server.command("SMEMBERS", holders)
            server.silenced.add(7)
            await anyio.sleep(3)
            assert dead not in server.command("SMEMBERS", holders)
            assert len(server.command("SMEMBERS", holders)) == 1  # who waited has it now
            tasks.cancel_scope.cancel()
        server.silenced.clear()
        await bob.close()

    run(shared_valkey, main)


def test_who_hears_nothing_asks_from_time_to_time(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        server.is_mute = True
        async with workers(server, 2) as (ada, bob), anyio.create_task_group() as tasks:
            permit = await ada.acquire(at_once(1))

            async def end() -> None:
                await anyio.sleep(1)
                ada.done(permit, Observation())

            tasks.start_soon(end)
            with anyio.fail_after(2):
                await bob.acquire(at_once(1))

    run(shared_valkey, main)


def test_permits_that_are_kept_for_others_wake_nobody_in_vain(shared_valkey: Valkey) -> None:
    """Two of four are kept for higher priorities: there are free ones that those who wait may not have."""

    async def main(server: VirtualServer) -> None:
        demands = at_once(4, reserve=0.5)
        async with workers(server, 4) as limiters, anyio.create_task_group() as tasks:
            held: list[Permit] = [await limiter.acquire(demands) for limiter in limiters[:2]]
            for limiter in limiters[2:] * 3:
                tasks.start_soon(limiter.acquire, demands)
            await anyio.sleep(1)
            before = server.exchanges
            await anyio.sleep(10)
            questions, signs_of_life = 2 / 0.25, len(limiters)
            asked_back = 2 / 0.25  # who is first in line asks those who hold some, each time
            assert server.exchanges - before <= 10 * (questions + asked_back + signs_of_life)
            tasks.cancel_scope.cancel()
            for limiter, permit in zip(limiters, held, strict=False):
                limiter.done(permit, Observation())

    run(shared_valkey, main)


def test_a_worker_alone_listens_only_where_others_may_want_what_it_holds(shared_valkey: Valkey) -> None:
    async def main(server: VirtualServer) -> None:
        async with workers(server) as (limiter,):
            await keep_busy(limiter, [Demand(ADA, Rate(50, per=1))], 60)
            assert server.listeners == 0
            await keep_busy(limiter, at_once(4), 20)
            await anyio.sleep(1)
            assert server.listeners == 1
            await anyio.sleep(60)
            assert server.listeners <= 2

    run(shared_valkey, main)
