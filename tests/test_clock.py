from __future__ import annotations

import time
from typing import Literal

import anyio
import anyio.to_thread
import pytest

from ratesync.clock import MINIMUM_DELAY, SystemClock, delay_until, sleep_until, timeout_at
from ratesync.testing.virtual_time import EPOCH, VirtualClock, virtual_backend_options


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    backend: Literal["asyncio", "trio"] = request.param
    return virtual_backend_options(backend)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_the_system_clock_tells_the_time_of_the_machine() -> None:
    before = time.time()
    clock = SystemClock()
    now = clock.now()
    after = time.time()
    # The wall clock and the monotonic one are read one after the other, and may be slewed meanwhile.
    assert before - 1 <= now <= after + 1
    assert not clock.is_virtual


def test_a_step_of_the_wall_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    elapsed = time.monotonic
    start = elapsed()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    stepped = clock.now()
    assert 0 <= stepped - before <= elapsed() - start + 1


def test_the_system_clock_never_goes_backwards() -> None:
    clock = SystemClock()
    readings = [clock.now() for _ in range(10_000)]
    assert readings == sorted(readings)


def test_the_system_clock_advances_as_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = 50.0
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    clock = SystemClock()
    assert clock.now() == 1000.0
    monotonic = 57.5
    assert clock.now() == 1007.5


@pytest.mark.anyio
async def test_the_clock_may_be_asked_from_a_thread(clock: VirtualClock) -> None:
    here = clock.now()
    assert await anyio.to_thread.run_sync(clock.now) == here


@pytest.mark.anyio
async def test_sleeping_until_an_instant_ends_at_that_instant(clock: VirtualClock) -> None:
    assert clock.now() == EPOCH
    await sleep_until(clock, EPOCH + 3600.5)
    assert clock.now() == pytest.approx(EPOCH + 3600.5, abs=1e-5)


@pytest.mark.anyio
@pytest.mark.parametrize("ahead", [-5, 0, 0.0001])
async def test_no_computed_wait_is_shorter_than_the_minimum(clock: VirtualClock, ahead: float) -> None:
    at = EPOCH + ahead
    assert delay_until(clock, at) == MINIMUM_DELAY
    await sleep_until(clock, at)
    assert clock.now() == pytest.approx(EPOCH + MINIMUM_DELAY, abs=1e-5)


@pytest.mark.anyio
async def test_a_timeout_ends_quietly_at_its_instant(clock: VirtualClock) -> None:
    with timeout_at(clock, EPOCH + 20) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert clock.now() == pytest.approx(EPOCH + 20, abs=1e-5)


@pytest.mark.anyio
async def test_a_timeout_of_none_never_ends(clock: VirtualClock) -> None:
    with timeout_at(clock, None) as scope:
        await anyio.sleep(80_000)
    assert not scope.cancel_called
