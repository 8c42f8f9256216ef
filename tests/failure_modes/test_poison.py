"""Case 18: operations that crash every worker that tries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from typing_extensions import override

from ratesync import (
    Applied,
    RetryPolicy,
    Unknown,
)
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    Process,
    ProcessFactory,
    upsert,
)

pytestmark = pytest.mark.anyio


class Poison(FakeProvider):
    """Kills the process that calls it for the record "poison"."""

    victim: Process | None = None

    @override
    async def execute(self, batch: Any) -> Any:
        if any(operation.record_id == "poison" for operation in batch.operations) and self.victim is not None:
            self.calls += 1
            self.victim.kill()
            await anyio.sleep_forever()
        return await super().execute(batch)


async def crash(provider: Poison, make_process: ProcessFactory, until: Callable[[], Awaitable[bool]]) -> int:
    """Start a process each time the last one has died, until the condition holds; the number of deaths."""
    deaths = 0
    async with anyio.create_task_group() as tasks:
        provider.victim = make_process()
        tasks.start_soon(provider.victim.run)
        with anyio.fail_after(600):
            while not await until():
                await anyio.sleep(1)
                if provider.victim.scope.cancel_called:
                    deaths += 1
                    provider.victim = make_process()
                    tasks.start_soon(provider.victim.run)
        provider.victim.stop()
    return deaths


async def test_case_18_what_crashes_every_worker_becomes_a_dead_letter(
    make_engine: EngineFactory, make_process: ProcessFactory, clock: VirtualClock
) -> None:
    provider = Poison(clock=clock)
    async with make_engine(role="submit", providers=[provider]) as host:

        def make() -> Process:
            process = make_process()
            process.options["providers"] = [provider]
            return process

        ticket = await host.submit(upsert("poison"))

        async def is_drained() -> bool:
            return await host.drain(timeout=0.5)

        assert await crash(provider, make, is_drained) == RetryPolicy().max_lapses
        outcome = await ticket.outcome()
        assert isinstance(outcome, Unknown)
        assert "poison" in outcome.reason
        (letter,) = await host.dead_letters()
        assert letter.id == ticket.id
        # It can be looked at, and played again, when what is wrong was put right.
        provider.victim = None
        assert await host.replay([ticket.id]) == [True]
        async with make_engine(providers=[provider], role="work"):
            assert await ticket.outcome(timeout=60) == Applied("poison", "1")


@pytest.mark.parametrize("connection", ["default", "other"], ids=["same lane", "another lane"])
async def test_case_18_the_poison_takes_nobody_with_it(
    make_engine: EngineFactory, make_process: ProcessFactory, clock: VirtualClock, connection: str
) -> None:
    """What merely was in the same process, or batch, when it crashed is innocent."""
    provider = Poison(clock=clock, latency=(1.0, 1.0))
    async with make_engine(role="submit", providers=[provider]) as host:

        def make() -> Process:
            process = make_process()
            process.options["providers"] = [provider]
            return process

        innocent = [upsert(str(number), connection=connection, n=number) for number in range(5)]
        tickets = await host.submit_many([upsert("poison"), *innocent])

        async def is_drained() -> bool:
            return await host.drain(timeout=0.5)

        await crash(provider, make, is_drained)
        outcomes = [await ticket.outcome() for ticket in tickets]
    assert [type(outcome) for outcome in outcomes] == [Unknown] + [Applied] * 5
