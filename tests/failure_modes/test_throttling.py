"""Cases 43 and 44: providers that ask to slow down."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from ratesync import (
    Applied,
    RetryPolicy,
)
from ratesync.errors import Throttled
from ratesync.model.event import CallFinished, Event, LaneParked
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    ScriptedProvider,
    failing,
    gaps,
    upsert,
)

pytestmark = pytest.mark.anyio

MAX_DELAY = RetryPolicy().max_delay


RETRY_AFTERS = {
    "seconds": (30.0, 30.0, 30.1),
    "fraction": (0.25, 0.25, 0.35),
    "zero": (0.0, 0.0, 1.1),
    "negative": (-5.0, 0.0, 1.1),
    "none": (None, 0.0, 1.1),
    "nan": (math.nan, 0.0, 1.1),
    "a billion": (1e9, MAX_DELAY, MAX_DELAY + 0.1),
    "infinity": (math.inf, 0.0, MAX_DELAY + 0.1),  # as garbage or as the longest: both are safe
    # As an adapter gives it that hands the header on as it came.
    "text": ("30", 0.0, 30.1),
    "date": ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0, 1.1),
}


@pytest.mark.parametrize(("retry_after", "least", "most"), RETRY_AFTERS.values(), ids=RETRY_AFTERS)
async def test_case_43_a_throttled_lane_waits_as_long_as_it_was_asked_to(
    make_engine: EngineFactory, scripted: ScriptedProvider, retry_after: Any, least: float, most: float
) -> None:
    """The whole lane and only it; within bounds; and what was asked for in no sensible way counts as not asked for."""
    scripted.script = [failing(Throttled("429", retry_after=retry_after))]
    events: list[Event] = []
    async with make_engine(providers=[scripted], observers=[events.append]) as engine:
        await engine.submit(upsert("1"))
        await anyio.sleep(0.03)
        await engine.submit_many([upsert("2"), upsert("3", connection="other")])
        assert await engine.drain(connection="other", provider="fake", timeout=1)
        assert await engine.drain(timeout=2 * MAX_DELAY)
        assert await engine.dead_letters() == []
    throttled_at = scripted.instants[0] + scripted.latency[0]
    again = [at - throttled_at for at, batch in scripted.asked[1:] if batch.connection == "default"]
    assert least - 0.001 <= min(again) <= most
    (parked,) = {event.lane for event in events if isinstance(event, LaneParked)}
    assert parked.connection == "default"
    assert any(event.throttled for event in events if isinstance(event, CallFinished))


async def test_case_43_being_throttled_is_no_attempt(make_engine: EngineFactory, scripted: ScriptedProvider) -> None:
    times = 5 * RetryPolicy().max_attempts
    scripted.script = [failing(Throttled("429", retry_after=1.0)) for _ in range(times)]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(upsert("1"))
        await anyio.sleep(times / 2)
        assert (await ticket.status()).attempts == 0
        assert await ticket.outcome(timeout=2 * times) == Applied("1", "1")
    assert len(scripted.asked) == times + 1


async def test_case_44_throttled_without_a_time_waits_are_spread(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    scripted.script = [failing(Throttled("429")) for _ in range(30)]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(upsert("1"))
        assert await ticket.outcome(timeout=40 * MAX_DELAY) == Applied("1", "1")
    waits = [gap - scripted.latency[0] for gap in gaps(scripted.instants)]
    assert len({round(wait, 6) for wait in waits}) > 25
    assert max(waits) <= MAX_DELAY


async def test_case_44_a_provider_that_only_throttles_is_not_hammered(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    """Two minutes of 429 without a time to wait, at 50 operations a second: calls stay well below operations."""
    provider.faults = Faults(throttled_silently=1.0)
    async with make_engine() as engine:
        for second in range(120):
            await engine.submit_many([upsert(f"{second}-{number}") for number in range(50)])
            await anyio.sleep(1)
        assert len(provider.asked) <= 0.05 * 120 * 50
        provider.faults = Faults()
        assert await engine.drain(timeout=MAX_DELAY + 60)
        assert await engine.dead_letters() == []
