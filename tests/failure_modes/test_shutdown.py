"""Cases 8 to 10: leaving an engine, also when it is cancelled or its queue does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import anyio.lowlevel
import pytest
from attrs import define, evolve
from typing_extensions import override

from ratesync import (
    Applied,
    Capabilities,
    OperationState,
    Settings,
)
from ratesync.errors import QueueError
from ratesync.memory import MemoryBackend
from ratesync.model.work import Claim, ClaimRequest, Settlement
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    nothing,
    upsert,
)

pytestmark = pytest.mark.anyio

ACKED_WITHIN = 2.0
"""Seconds that an ack is waited for when the engine must leave."""
SLOW = (10.0, 10.0)
"""A latency: the request is applied after 5 s, the answer comes after 10 s."""


@pytest.mark.parametrize(("takes", "finished"), [(4.0, True), (400.0, False)])
async def test_case_08_leaving_finishes_or_releases_what_is_under_way(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock, *, takes: float, finished: bool
) -> None:
    provider.latency = (takes, takes)
    async with make_engine(settings=Settings(grace=5, call_timeout=1000)) as engine:
        ticket = await engine.submit(upsert("1", n=1))
        await anyio.sleep(1)
        left_at = clock.now()
    assert clock.now() - left_at <= (takes if finished else 5 + 1)
    provider.latency = (0.0, 0.0)
    started_at = clock.now()
    async with make_engine() as engine:
        assert ((await engine.status(ticket.id)).state is OperationState.COMPLETED) == finished
        assert await engine.drain(timeout=60)
    assert clock.now() - started_at < 0.1  # the next holder need not wait for a lease to lapse
    assert len(provider.asked) == (1 if finished else 2)


async def test_case_09_cancelled_while_it_was_leaving(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.latency = SLOW
    started_at = clock.now()
    with anyio.CancelScope(deadline=anyio.current_time() + 1 + 3) as scope:
        async with make_engine(settings=Settings(grace=8)) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(25)])
            await anyio.sleep(1)
    assert scope.cancelled_caught
    assert clock.now() - started_at <= 1 + 3 + 1
    provider.latency = (0.0, 0.0)
    async with make_engine() as engine:
        assert await engine.drain(timeout=1)
        assert await engine.dead_letters() == []
    assert len(provider.records) == 25


@define
class FailingQueue(MortalQueue):
    """A queue that cannot settle any more."""

    failing: bool = False
    when_claimed: Callable[[], None] = nothing
    """Happens when a claim has got work, before the engine begins with it."""

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        claim = await super().claim(request)
        if claim.batches:
            self.when_claimed()
        return claim

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        if self.failing:
            raise QueueError("no connection")
        return await super().settle(worker, settlements)


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
@pytest.mark.parametrize("operations", [1, 40])
async def test_case_09_a_failing_backend_does_not_keep_the_engine_from_leaving(
    make_engine: EngineFactory,
    backend: MemoryBackend,
    provider: NotingProvider,
    clock: VirtualClock,
    operations: int,
    *,
    cancelled: bool,
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(batch_max=1, concurrency=None)
    queue = FailingQueue(backend.queue, clock)
    left_at = clock.now() + 1
    with anyio.CancelScope() as scope:
        async with make_engine(queue=queue, settings=Settings(grace=2, max_calls=64)) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(operations)])
            await anyio.sleep(1)
            queue.failing = True
            if cancelled:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert clock.now() - left_at <= (0 if cancelled else 2) + 1.1
    queue.failing = False
    provider.latency = (0.0, 0.0)
    async with make_engine(queue=queue) as engine:
        assert await engine.drain(timeout=600)
    assert len(provider.records) == operations


async def test_case_09_calls_that_had_not_begun_do_not_keep_the_engine_either(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.capabilities = Capabilities(batch_max=1, concurrency=None)
    queue = FailingQueue(backend.queue, clock)
    started_at = clock.now()
    with anyio.CancelScope() as scope:

        def fail_and_cancel() -> None:
            queue.failing = True
            scope.cancel()

        queue.when_claimed = fail_and_cancel
        async with make_engine(queue=queue) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(40)])
            await anyio.sleep_forever()
    assert clock.now() - started_at <= 1.1
    queue.failing, queue.when_claimed = False, nothing
    async with make_engine(queue=queue) as engine:
        assert await engine.drain(timeout=600)
    assert len(provider.records) == 40


@define
class SlowQueue(MortalQueue):
    """A queue whose settlements take their time to be acknowledged."""

    takes: float = 0.0

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        await anyio.sleep(self.takes)
        return await super().settle(worker, settlements)


async def test_case_10_cancelled_during_the_ack(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    queue = SlowQueue(backend.queue, clock, takes=0.6)
    provider.latency = (1.0, 1.0)
    with anyio.move_on_after(1.3) as scope:  # in the middle of the ack
        async with make_engine(queue=queue) as engine:
            await engine.submit(evolve(upsert("1", n=1), id="op"))
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert clock.now() - provider.instants[0] <= 1.3 + ACKED_WITHIN + 0.1
    async with make_engine(role="submit") as engine:
        assert (await engine.status("op")).outcome == Applied("1", "1")


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
async def test_case_10_an_ack_that_never_ends_is_given_up_and_the_lease_decides(
    make_engine: EngineFactory,
    backend: MemoryBackend,
    provider: NotingProvider,
    clock: VirtualClock,
    *,
    cancelled: bool,
) -> None:
    """A backend behind a broken connection: whether the ack reached it is unknown."""
    queue = SlowQueue(backend.queue, clock, takes=10_000.0)
    left_at = clock.now() + 1
    with anyio.CancelScope() as scope:
        async with make_engine(queue=queue, settings=Settings(grace=1)) as engine:
            await engine.submit(upsert("1", n=1))
            await anyio.sleep(1)
            if cancelled:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert clock.now() - left_at <= 1 + ACKED_WITHIN + 1
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
    assert len(provider.writes) == 2
