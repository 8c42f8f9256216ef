from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import get_args

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.clock import sleep_until
from ratesync.testing.virtual_time import (
    EPOCH,
    Backend,
    VirtualClock,
    VirtualTimeError,
    run_virtual,
    virtual_backend_options,
)

BACKENDS: tuple[Backend, ...] = get_args(Backend)
DAY = 86_400.0

both_backends = pytest.mark.parametrize("backend", BACKENDS)
starts = pytest.mark.parametrize("start", [0.0, 1e6, 1e8])


@both_backends
def test_a_day_of_sleep_takes_no_real_time(backend: Backend) -> None:
    async def main() -> float:
        start = anyio.current_time()
        await anyio.sleep(DAY)
        return anyio.current_time() - start

    began = time.perf_counter()
    assert run_virtual(main, backend=backend) == DAY
    assert time.perf_counter() - began < 30


@both_backends
def test_arguments_and_results_pass_through(backend: Backend) -> None:
    async def main(left: int, right: str) -> tuple[int, str]:
        await anyio.sleep(1)
        return left, right

    assert run_virtual(main, 1, "two", backend=backend) == (1, "two")


@both_backends
def test_an_error_of_the_program_comes_out_bare(backend: Backend) -> None:
    async def main() -> None:
        await anyio.sleep(1)
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run_virtual(main, backend=backend)


@both_backends
def test_timers_fire_in_order_each_at_its_instant(backend: Backend) -> None:
    fired: list[tuple[float, float]] = []

    async def sleeper(delay: float) -> None:
        await anyio.sleep(delay)
        fired.append((anyio.current_time(), delay))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for delay in (3.0, 0.5, DAY, 2.25, 40.0):
                group.start_soon(sleeper, delay)

    run_virtual(main, backend=backend)
    assert fired == [(delay, delay) for delay in (0.5, 2.25, 3.0, 40.0, DAY)]


@both_backends
def test_timeouts_events_and_task_groups_work(backend: Backend) -> None:
    async def main() -> tuple[float, float]:
        ready = anyio.Event()

        async def prepare() -> None:
            await anyio.sleep(7)
            ready.set()

        async with anyio.create_task_group() as group:
            group.start_soon(prepare)
            await ready.wait()
        ready_at = anyio.current_time()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(20):
                await anyio.sleep_forever()
        return ready_at, anyio.current_time()

    assert run_virtual(main, backend=backend) == (7.0, 27.0)


@both_backends
def test_waiting_for_all_tasks_to_block_comes_before_the_next_jump(backend: Backend) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 100)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        return anyio.current_time()

    assert run_virtual(main, backend=backend) < 1


@both_backends
@pytest.mark.parametrize("own_limiter", [False, True])
def test_time_stands_still_while_a_worker_thread_works(backend: Backend, own_limiter: bool) -> None:
    def work() -> str:
        time.sleep(0.05)
        return "worked"

    async def main() -> tuple[list[str], float]:
        limiter = anyio.CapacityLimiter(1) if own_limiter else None
        results: list[str] = []

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 3600)
            for _ in range(3):  # the thread is used again
                with anyio.fail_after(0.001):
                    results.append(await anyio.to_thread.run_sync(work, limiter=limiter))
            group.cancel_scope.cancel()
        return results, anyio.current_time()

    results, ended_at = run_virtual(main, backend=backend)
    assert results == ["worked"] * 3
    assert ended_at < 0.001


@both_backends
def test_time_goes_on_when_the_worker_thread_is_done(backend: Backend) -> None:
    async def main() -> float:
        await anyio.to_thread.run_sync(time.sleep, 0.01)
        await anyio.sleep(DAY)
        return anyio.current_time()

    assert DAY <= run_virtual(main, backend=backend) < DAY + 1


@both_backends
@starts
def test_a_tiny_delay_makes_progress_at_any_time(backend: Backend, start: float) -> None:
    async def main() -> float:
        await anyio.sleep(start)
        began = anyio.current_time()
        while anyio.current_time() == began:  # noqa: ASYNC110 - what a limiter does that polls
            await anyio.sleep(1e-17)
        return anyio.current_time() - began

    assert 0 < run_virtual(main, backend=backend) < 1e-6


@both_backends
@starts
@given(data=st.data())
def test_an_instant_slept_until_is_reached_exactly(backend: Backend, start: float, data: st.DataObject) -> None:
    delays = data.draw(st.lists(st.floats(min_value=0.001, max_value=DAY), max_size=5))

    async def main() -> None:
        clock = VirtualClock()
        await anyio.sleep(start)
        for delay in delays:
            at = clock.now() + delay
            await sleep_until(clock, at)
            assert at <= clock.now() < at + 1e-6

    run_virtual(main, backend=backend)


def crowd(tasks: int, seed: int) -> Callable[[], Awaitable[list[tuple[float, int, str]]]]:
    """A program of many tasks that sleep at random, time out, pass messages and are cancelled in the end."""

    async def main() -> list[tuple[float, int, str]]:
        dice = random.Random(seed)
        trace: list[tuple[float, int, str]] = []
        send, receive = anyio.create_memory_object_stream[int](5)

        async def worker(number: int) -> None:
            try:
                while True:
                    with anyio.move_on_after(dice.choice([0.5, 1.0])) as scope:
                        await anyio.sleep(dice.choice([0.25, 0.5, 2.0]))
                        await (send.send(number) if dice.random() < 0.5 else receive.receive())
                    trace.append((anyio.current_time(), number, "late" if scope.cancelled_caught else "done"))
            finally:
                trace.append((anyio.current_time(), number, "cancelled"))

        with send, receive:
            async with anyio.create_task_group() as group:
                for number in range(tasks):
                    group.start_soon(worker, number)
                await anyio.sleep(20)
                group.cancel_scope.cancel()
        return trace

    return main


@both_backends
def test_the_same_seed_gives_the_same_trace(backend: Backend) -> None:
    traces: list[list[tuple[float, int, str]]] = []
    for round_ in range(4):
        traces.append(run_virtual(crowd(50, seed=7), backend=backend, seed=7))
        _kept = [object() for _ in range(997 * round_)]  # shifts the addresses of what the next run makes
    assert len(traces[0]) > 500
    assert {text for _, _, text in traces[0]} == {"late", "done", "cancelled"}
    assert all(trace == traces[0] for trace in traces)


def test_the_seed_varies_the_order_on_trio() -> None:
    traces = [run_virtual(crowd(5, seed=7), backend="trio", seed=seed) for seed in range(5)]
    assert any(trace != traces[0] for trace in traces)


@both_backends
def test_a_run_leaves_no_task_behind(backend: Backend) -> None:
    async def main() -> tuple[set[int], set[int]]:
        before = {task.id for task in anyio.get_running_tasks()}
        await crowd(10, seed=1)()
        return before, {task.id for task in anyio.get_running_tasks()}

    before, after = run_virtual(main, backend=backend)
    assert before == after


@both_backends
def test_the_clock_starts_at_the_epoch_and_follows_the_run(backend: Backend) -> None:
    early = VirtualClock()

    async def main() -> list[float]:
        late = VirtualClock()
        instants = [early.now(), late.now()]
        await anyio.sleep(90)
        return [*instants, early.now(), late.now(), await anyio.to_thread.run_sync(late.now)]

    assert early.now() == EPOCH
    assert run_virtual(main, backend=backend) == [EPOCH, EPOCH, EPOCH + 90, EPOCH + 90, EPOCH + 90]
    assert early.is_virtual


def test_the_clock_needs_no_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trio", raising=False)
    assert VirtualClock().now() == EPOCH


@both_backends
def test_the_clock_refuses_a_run_in_real_time(backend: Backend) -> None:
    async def main() -> None:
        VirtualClock().now()

    with pytest.raises(VirtualTimeError, match="run_virtual"):
        anyio.run(main, backend=backend)


@pytest.mark.anyio
class TestBackendOptions:
    @pytest.fixture(params=BACKENDS)
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
        return virtual_backend_options(request.param)

    @pytest.fixture
    async def clock(self, anyio_backend: object) -> VirtualClock:
        clock = VirtualClock()
        clock.now()
        await anyio.sleep(DAY)
        return clock

    async def test_fixtures_and_tests_share_one_run_in_virtual_time(self, clock: VirtualClock) -> None:
        assert clock.now() == EPOCH + DAY
        await anyio.sleep(DAY)
        assert clock.now() == EPOCH + 2 * DAY

    async def test_each_run_starts_at_the_beginning(self) -> None:
        assert anyio.current_time() == 0.0

    async def test_time_stands_still_while_a_worker_thread_works(self) -> None:
        entered = threading.Event()
        with anyio.fail_after(0.001):
            await anyio.to_thread.run_sync(entered.wait, 0.05)
        assert anyio.current_time() < 0.001
