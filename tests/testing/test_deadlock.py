from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import get_args

import anyio
import anyio.to_thread
import pytest

from ratesync.testing.deadlock import Deadlock
from ratesync.testing.virtual_time import Backend, run_virtual

both_backends = pytest.mark.parametrize("backend", get_args(Backend))


async def wait_for_ever() -> None:
    await anyio.Event().wait()


async def wait_in_a_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_ever, name="the idle one")
        await anyio.sleep(5)


async def wait_shielded() -> None:
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_ever, name="the idle one")


async def wait_and_go_on_when_cancelled() -> str:
    try:
        await anyio.Event().wait()
    except anyio.get_cancelled_exc_class():
        return "swallowed"  # on purpose: a deadlock must show even then
    return "woken"


async def wait_and_wait_again_when_cancelled() -> None:
    try:
        await anyio.Event().wait()
    finally:
        await anyio.Event().wait()


@both_backends
@pytest.mark.parametrize(
    "main",
    [
        wait_for_ever,
        wait_in_a_group,
        wait_shielded,
        wait_and_go_on_when_cancelled,
        wait_and_wait_again_when_cancelled,
        anyio.sleep_forever,
    ],
)
def test_a_program_that_would_wait_for_ever_is_ended(main: Callable[[], Awaitable[object]], backend: Backend) -> None:
    with pytest.raises(Deadlock, match="wait for ever"):
        run_virtual(main, backend=backend)


@both_backends
def test_an_infinite_sleep_alone_is_a_deadlock(backend: Backend) -> None:
    with pytest.raises(Deadlock):
        run_virtual(anyio.sleep, float("inf"), backend=backend)


@both_backends
@pytest.mark.parametrize("main", [wait_in_a_group, wait_shielded])
def test_the_report_names_each_task_and_its_place(main: Callable[[], Awaitable[None]], backend: Backend) -> None:
    with pytest.raises(Deadlock) as caught:
        run_virtual(main, backend=backend)
    first, second = caught.value.waiting
    assert main.__name__ in first.split(" waits at ")[0]
    assert first.endswith(f"in {main.__name__}")
    assert second.startswith("the idle one waits at ")
    assert second.endswith("in wait_for_ever")
    assert f"{__file__}:" in second
    assert all(line in str(caught.value) for line in caught.value.waiting)


@both_backends
def test_a_busy_thread_is_no_deadlock(backend: Backend) -> None:
    async def main() -> float:
        await anyio.to_thread.run_sync(time.sleep, 0.05)
        return anyio.current_time()

    assert run_virtual(main, backend=backend) < 0.001


@both_backends
def test_an_idle_thread_hides_no_deadlock(backend: Backend) -> None:
    async def main() -> None:
        await anyio.to_thread.run_sync(int)
        await anyio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main, backend=backend)


@both_backends
def test_timeouts_that_wake_nobody_are_no_deadlock(backend: Backend) -> None:
    async def main() -> float:
        with anyio.move_on_after(1), anyio.move_on_after(2), anyio.CancelScope(shield=True):
            await anyio.sleep(10)
        return anyio.current_time()

    assert run_virtual(main, backend=backend) == 10.0


@both_backends
def test_tasks_clean_up_after_a_deadlock(backend: Backend) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await anyio.Event().wait()
        finally:
            cleaned.append("main")

    with pytest.raises(Deadlock):
        run_virtual(main, backend=backend)
    assert cleaned == ["main"]
