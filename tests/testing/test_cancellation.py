from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Awaitable, Callable
from typing import get_args

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ratesync.testing.cancellation import CheckpointCanceller, Moment, run_with_cancellation_at
from ratesync.testing.deadlock import VirtualTimeError
from ratesync.testing.virtual_time import Backend, run_virtual

both_backends = pytest.mark.parametrize("backend", get_args(Backend))
both_moments = pytest.mark.parametrize("moment", get_args(Moment))


class Program:
    """A main task and a child with named checkpoints; it records which of them was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.finished: list[str] = []

    async def at(self, name: str, wait: Awaitable[object]) -> None:
        try:
            await wait
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(name)
            raise

    async def in_a_row(self) -> None:
        await self.at("sleep", anyio.sleep(1))
        await self.at("checkpoint", anyio.lowlevel.checkpoint())
        await self.at("thread", anyio.to_thread.run_sync(int, abandon_on_cancel=True))
        await self.at("event", self.set_later())
        await self.at("timeout", self.time_out())
        self.finished.append("main")

    async def set_later(self) -> None:
        event = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self.after, 1, event.set)
            await event.wait()

    async def time_out(self) -> None:
        with anyio.move_on_after(5):
            await anyio.sleep_forever()

    async def after(self, delay: float, call: Callable[[], None]) -> None:
        await anyio.sleep(delay)
        call()

    async def with_a_child(self) -> None:
        met = anyio.Event()

        async def child() -> None:
            await self.at("child before", anyio.sleep(1))
            met.set()
            await self.at("child after", anyio.sleep(1))
            self.finished.append("child")

        async with anyio.create_task_group() as group:
            group.start_soon(child)
            await self.at("meeting", met.wait())
            await self.at("main after", anyio.sleep(5))
            self.finished.append("main")


def cancel_at_every_checkpoint(name: str, backend: Backend, moment: Moment = "waiting") -> list[Program]:
    """The programs of all the runs, the last of them not cancelled."""
    programs: list[Program] = []
    for at in itertools.count(1):
        program = Program()
        programs.append(program)

        async def main(at: int = at, program: Program = program) -> bool:
            return await run_with_cancellation_at(at, getattr(program, name), moment=moment)

        if not run_virtual(main, backend=backend):
            return programs
    raise AssertionError


@both_backends
def test_each_checkpoint_is_cancelled_in_turn_exactly_once(backend: Backend) -> None:
    async def main(at: int) -> tuple[bool, list[str], float]:
        program = Program()

        async def sleeps() -> None:
            for name in ("first", "second", "third"):
                await program.at(name, anyio.sleep(3600))

        return await run_with_cancellation_at(at, sleeps), program.cancelled, anyio.current_time()

    assert [run_virtual(main, at, backend=backend) for at in (1, 2, 3, 4)] == [
        (True, ["first"], 0.0),
        (True, ["second"], 3600.0),
        (True, ["third"], 7200.0),
        (False, [], 10800.0),
    ]


@both_backends
@pytest.mark.parametrize(
    ("name", "checkpoints"),
    [
        ("in_a_row", {"sleep", "checkpoint", "thread", "event", "timeout"}),
        ("with_a_child", {"child before", "child after", "meeting", "main after"}),
    ],
)
def test_every_checkpoint_of_every_task_is_cancelled_at_some_count(
    name: str, checkpoints: set[str], backend: Backend
) -> None:
    *cancelled, last = cancel_at_every_checkpoint(name, backend)
    assert {checkpoint for program in cancelled for checkpoint in program.cancelled} == checkpoints
    assert last.cancelled == []
    assert "main" in last.finished


@both_backends
@pytest.mark.parametrize("name", ["in_a_row", "with_a_child"])
@both_moments
def test_the_same_count_cancels_at_the_same_place(name: str, backend: Backend, moment: Moment) -> None:
    runs = [
        [(program.cancelled, program.finished) for program in cancel_at_every_checkpoint(name, backend, moment)]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


@both_backends
@pytest.mark.parametrize(("moment", "cancelled"), [("waiting", "receive"), ("resuming", "send")])
def test_the_moment_decides_whether_what_was_waited_for_comes(backend: Backend, moment: Moment, cancelled: str) -> None:
    received: list[str] = []

    async def main() -> list[str]:
        program = Program()
        into, out = anyio.create_memory_object_stream[str](1)

        async def receive() -> None:
            received.append(await out.receive())

        async def relay() -> None:
            await program.at("receive", receive())
            await program.at("send", into.send("there is room, so it need not wait"))

        async def feed() -> None:
            await anyio.sleep(1)
            await into.send("parcel")

        with into, out:
            async with anyio.create_task_group() as group:
                group.start_soon(feed)
                assert await run_with_cancellation_at(2, relay, moment=moment)
                with anyio.move_on_after(2):
                    received.append(await out.receive())
        return program.cancelled

    assert run_virtual(main, backend=backend) == [cancelled]
    assert received == ["parcel"]


@both_backends
@both_moments
def test_only_tasks_of_the_block_are_counted_and_cancelled(backend: Backend, moment: Moment) -> None:
    async def main() -> tuple[int, list[str]]:
        program = Program()
        canceller = CheckpointCanceller(at=1000, moment=moment)
        async with anyio.create_task_group() as group:
            group.start_soon(program.in_a_row)
            await anyio.lowlevel.checkpoint()
            async with canceller:
                await anyio.sleep(10)
                await anyio.sleep(10)
            counted = canceller.count
            await anyio.sleep(10)
            assert not canceller.reached
            assert canceller.count == counted
        return canceller.count, program.finished

    assert run_virtual(main, backend=backend) == (2, ["main"])


@both_backends
@both_moments
def test_a_task_that_outlives_the_block_is_counted_no_more(backend: Backend, moment: Moment) -> None:
    async def checkpoints() -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    async def main() -> list[int]:
        counts: list[int] = []
        async with anyio.create_task_group() as group:
            async with CheckpointCanceller(at=1000, moment=moment) as canceller:
                group.start_soon(checkpoints)
                await anyio.lowlevel.checkpoint()
            counts.append(canceller.count)
            await anyio.sleep(1)
            counts.append(canceller.count)
        return counts

    when_it_ended, later = run_virtual(main, backend=backend)
    assert 1 <= when_it_ended == later


@both_backends
def test_the_end_of_a_task_is_no_checkpoint(backend: Backend) -> None:
    async def main() -> int:
        async with CheckpointCanceller(at=1000) as canceller, anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1)
        return canceller.count

    assert run_virtual(main, backend=backend) == 2  # the child sleeps, its parent waits for it


@both_backends
def test_the_run_keeps_nothing_of_a_block_that_ended(backend: Backend) -> None:
    async def block() -> weakref.ref[CheckpointCanceller]:
        async with CheckpointCanceller(at=1) as canceller:
            await anyio.sleep(1)
        return weakref.ref(canceller)

    async def main() -> CheckpointCanceller | None:
        ended = await block()
        await anyio.sleep(1)
        gc.collect()
        return ended()

    assert run_virtual(main, backend=backend) is None


@both_backends
def test_the_block_ends_quietly_and_the_program_goes_on(backend: Backend) -> None:
    async def main() -> tuple[bool, float]:
        async with CheckpointCanceller(at=2) as canceller:
            await anyio.sleep(10)
            await anyio.sleep(10)
        await anyio.sleep(5)
        return canceller.reached, anyio.current_time()

    assert run_virtual(main, backend=backend) == (True, 15.0)


@both_backends
def test_a_shielded_checkpoint_counts_and_is_finished(backend: Backend) -> None:
    async def main() -> tuple[bool, float]:
        async with CheckpointCanceller(at=1) as canceller:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
            await anyio.sleep(10)
        return canceller.reached, anyio.current_time()

    assert run_virtual(main, backend=backend) == (True, 10.0)


@both_backends
def test_an_error_of_the_block_comes_out(backend: Backend) -> None:
    async def main() -> None:
        async with CheckpointCanceller(at=5):
            await anyio.sleep(1)
            raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run_virtual(main, backend=backend)


@pytest.mark.parametrize("at", [0, -1])
def test_a_count_below_one_is_refused(at: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        CheckpointCanceller(at=at)


def test_real_time_on_asyncio_is_refused() -> None:
    async def main() -> None:
        async with CheckpointCanceller(at=1):
            pass

    with pytest.raises(VirtualTimeError, match="run_virtual"):
        anyio.run(main)
