"""Cases 60 and 61: a provider that is down, and comes back."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    CircuitPolicy,
    CreateIdentity,
    Outcome,
    RetryPolicy,
    Settings,
    Ticket,
)
from ratesync.model.event import CircuitChanged, CircuitState, Event
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    gaps,
    upsert,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MAX_DELAY = RetryPolicy().max_delay


OUTAGES = {
    "no connection": (Faults(not_sent=1.0), 1),
    "503": (Faults(unavailable=1.0), 1),
    "connections break": (Faults(lost_request=1.0), 1),
    "no answers": (Faults(hang=1.0), 1),
    "answers get lost": (Faults(lost_answer=1.0), 1),
    "no connection for batches": (Faults(not_sent=1.0), 10),
    "no answers for batches": (Faults(hang=1.0), 10),
}


@pytest.mark.parametrize(("faults", "together"), OUTAGES.values(), ids=OUTAGES)
async def test_case_60_an_outage_costs_few_calls_and_nothing_is_given_up(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock, faults: Faults, together: int
) -> None:
    """120 s of it at 50 operations a second: at most 0.05 calls for each operation, and all are done afterwards."""
    provider.capabilities = Capabilities(batch_max=together, create_identity=CreateIdentity.CLIENT_ID)
    tickets: list[Ticket] = []
    async with make_engine(settings=Settings(call_timeout=20)) as engine:

        async def submit(seconds: int) -> None:
            for _ in range(seconds * 50):
                tickets.append(await engine.submit(upsert(str(len(tickets)), n=len(tickets))))
                await anyio.sleep(1 / 50)

        await submit(30)
        before = len(provider.asked)
        provider.faults = faults
        await submit(120)
        assert len(provider.asked) - before <= 0.05 * 120 * 50
        provider.faults = Faults()
        ended_at = clock.now()
        assert await engine.drain(timeout=600)
        assert await engine.dead_letters() == []
        assert [type(await ticket.outcome()) for ticket in tickets] == [Applied] * len(tickets)
    # Whatever had the bad luck to be attempted last in the outage is back by then too.
    assert clock.now() - ended_at <= MAX_DELAY + CircuitPolicy().max_open_for
    assert len(provider.records) == 150 * 50


async def test_case_61_a_recovery_begins_with_one_call_and_then_doubles(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """100 callers wait behind the open circuit: exactly one gets through to try, the others follow by and by."""

    @define
    class Crowd(NotingProvider):
        under_way: int = field(default=0, init=False)
        succeeded: int = field(default=0, init=False)
        started: list[tuple[int, int]] = field(factory=list[tuple[int, int]], init=False)
        """(calls under way with it, calls that succeeded before) for each call since the end of the outage."""

        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.under_way += 1
            if not self.faults.not_sent:
                self.started.append((self.under_way, self.succeeded))
            try:
                answer = await super().execute(batch)
                self.succeeded += 1
                return answer
            finally:
                self.under_way -= 1

    crowd = Crowd(
        capabilities=Capabilities(batch_max=1, concurrency=None),
        faults=Faults(not_sent=1.0),
        latency=(1.0, 1.0),
        clock=clock,
    )
    policy = CircuitPolicy(slow_start_calls=16)
    events: list[Event] = []
    settings = Settings(max_calls=200, circuit=policy)
    async with make_engine(providers=[crowd], settings=settings, observers=[events.append]) as engine:
        await engine.submit_many([upsert(str(number)) for number in range(100)])
        await anyio.sleep(200)
        probes = [event for event in events if isinstance(event, CircuitChanged)]
        assert probes[-1].after in {CircuitState.OPEN, CircuitState.HALF_OPEN}
        opened_at = next(event.at for event in probes if event.after is CircuitState.OPEN)
        during = [at for at in crowd.instants if at > opened_at]
        assert 3 <= len(during) <= 20
        assert min(gaps(during)) >= policy.open_for  # one at a time, never a herd
        crowd.faults = Faults()
        assert await engine.drain(timeout=600)
    # The probe is alone until its answer is there.
    assert crowd.started[0] == (1, 0)
    assert crowd.started[1][1] == 1
    # Then each success lets twice as many through, up to the end of the slow start.
    slow = [(under_way, succeeded) for under_way, succeeded in crowd.started if succeeded <= 4]
    assert all(under_way <= 2 ** max(succeeded - 1, 0) for under_way, succeeded in slow)
    assert max(under_way for under_way, _ in crowd.started) > policy.slow_start_calls
    assert len(crowd.records) == 100
