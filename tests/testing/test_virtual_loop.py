from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from ratesync.testing.deadlock import VirtualTimeError
from ratesync.testing.virtual_loop import HORIZON, TICK, VirtualEventLoop
from ratesync.testing.virtual_time import run_virtual

YEAR = 365 * 86_400.0


def test_time_stands_still_while_an_executor_works() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001):
            await loop.run_in_executor(None, time.sleep, 0.05)
        default_done_at = loop.time()
        with ThreadPoolExecutor(1) as executor:
            async with asyncio.timeout(0.001):
                await loop.run_in_executor(executor, time.sleep, 0.05)
        return default_done_at, loop.time()

    assert run_virtual(main) == (0.0, 0.0)


def test_time_goes_on_after_a_failed_executor_call() -> None:
    async def main() -> float:
        with pytest.raises(ZeroDivisionError):
            await asyncio.get_running_loop().run_in_executor(None, divmod, 1, 0)
        await asyncio.sleep(5)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 5.0


def test_a_call_from_another_thread_comes_before_the_next_jump() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        called = asyncio.Event()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
        sleeper = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(0)
        thread.start()
        thread.join()
        await called.wait()
        sleeper.cancel()
        return loop.time()

    assert run_virtual(main) == 0.0


def test_a_call_that_comes_while_the_loop_decides_to_jump_is_seen() -> None:
    class RacingLoop(VirtualEventLoop):
        racer: threading.Thread | None = None

        @override
        def thread_at_work(self) -> bool:
            if self.racer is not None:
                self.racer.start()
                self.racer.join()
                self.racer = None
            return super().thread_at_work()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, RacingLoop)
        called = asyncio.Event()
        loop.racer = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
        async with asyncio.timeout(100):
            await called.wait()
        return loop.time()

    with asyncio.Runner(loop_factory=RacingLoop) as runner:
        assert runner.run(main()) == 0.0


def test_a_call_from_another_thread_wakes_an_idle_loop() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        called = asyncio.Event()

        def call() -> None:
            time.sleep(0.02)
            loop.call_soon_threadsafe(called.set)

        def call_from_another_thread() -> None:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()

        await asyncio.gather(called.wait(), loop.run_in_executor(None, call_from_another_thread))
        return loop.time()

    assert run_virtual(main) == 0.0


def test_a_real_socket_is_refused_with_advice() -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            await asyncio.get_running_loop().sock_recv(left, 1)

    with pytest.raises(VirtualTimeError, match=r"httpx\.MockTransport"):
        run_virtual(main)


def test_years_pass_exactly() -> None:
    async def main() -> float:
        for _ in range(30):
            await asyncio.sleep(YEAR)
            await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 30 * YEAR + 7.5 < HORIZON


def test_a_timer_beyond_the_horizon_never_fires_and_can_be_cancelled() -> None:
    async def main() -> list[str]:
        fired: list[str] = []
        loop = asyncio.get_running_loop()
        handles = [loop.call_at(when, fired.append, "late") for when in (HORIZON, float("inf"))]
        loop.call_later(YEAR, fired.append, "in time")
        await asyncio.sleep(2 * YEAR)
        for handle in handles:
            handle.cancel()
        return fired

    assert run_virtual(main) == ["in time"]


def test_times_lie_on_the_grid_and_never_before_the_timer() -> None:
    async def main() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        wakes: list[tuple[float, float]] = []
        for delay in (0.1, 1 / 3, 1e-9, 12.7, 1e-17):
            due = loop.time() + delay
            await asyncio.sleep(delay)
            wakes.append((due, loop.time()))
        return wakes

    for due, woken_at in run_virtual(main):
        assert due <= woken_at <= due + TICK
        assert (woken_at / TICK).is_integer()


def test_tasks_are_named_and_ordered_by_their_number_in_the_loop() -> None:
    async def main() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1)) for _ in range(20)}
        named = asyncio.create_task(asyncio.sleep(1), name="my own")
        await asyncio.wait({*tasks, named})
        return [task.get_name() for task in tasks] + [named.get_name()]

    names = run_virtual(main)
    assert names == run_virtual(main)
    assert names[-1] == "my own"
    assert sorted(names[:-1], key=lambda name: int(name.removeprefix("Task-"))) == names[:-1]


def test_cancel_scopes_are_anyios_own_again_after_a_run() -> None:
    async def main() -> type[anyio.CancelScope]:
        await anyio.lowlevel.checkpoint()
        return type(anyio.CancelScope())

    before = anyio.run(main)
    assert run_virtual(main) is not before
    assert anyio.run(main) is before


def test_the_loop_works_without_anyio() -> None:
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        assert runner.run(asyncio.sleep(86_400, "rested")) == "rested"
        assert runner.get_loop().time() == 86_400.0
