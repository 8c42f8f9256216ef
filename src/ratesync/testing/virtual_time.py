"""Runs of async programs in virtual time, on asyncio and on trio.

Virtual time starts at 0.0 on both, so :class:`VirtualClock` starts at :data:`EPOCH`. Real sockets do not work in it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Literal, TypeVar, TypeVarTuple, Unpack, cast

import anyio

from ratesync.testing.deadlock import Deadlock, VirtualTimeError
from ratesync.testing.trio_run import TrioRun
from ratesync.testing.virtual_loop import VirtualEventLoop

if TYPE_CHECKING:
    from trio.abc import Instrument

__all__ = ["EPOCH", "Deadlock", "VirtualClock", "VirtualTimeError", "run_virtual", "virtual_backend_options"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Backend = Literal["asyncio", "trio"]

EPOCH = 1_700_000_000.0
"""The instant at which virtual time starts, in seconds since the epoch: 2023-11-14 22:13:20 UTC."""


class VirtualClock:
    """A :class:`ratesync.clock.Clock` that follows virtual time: :data:`EPOCH` plus the time of the running loop.

    It belongs to the first run that asks it and may then be asked from any thread. Before, it stands at the start.
    Asked in a run in real time, it raises :class:`VirtualTimeError`.
    """

    def __init__(self) -> None:
        self._loop_time: Callable[[], float] | None = None

    @property
    def is_virtual(self) -> bool:
        """Always True."""
        return True

    def now(self) -> float:
        """The instant in seconds since the epoch."""
        if self._loop_time is None:
            self._loop_time = running_time()
        return EPOCH if self._loop_time is None else EPOCH + self._loop_time()


def running_time() -> Callable[[], float] | None:
    """What tells the time of the running loop; None outside a run."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return running_trio_time()
    if isinstance(loop, VirtualEventLoop):
        return loop.time
    raise VirtualTimeError(f"A VirtualClock was asked in {loop}. Run the program by run_virtual().")


def running_trio_time() -> Callable[[], float] | None:
    """As :func:`running_time`, for trio only."""
    if "trio" not in sys.modules:
        return None
    from trio.lowlevel import current_clock, in_trio_run
    from trio.testing import MockClock

    if not in_trio_run():
        return None
    clock = current_clock()
    if isinstance(clock, MockClock):
        return clock.current_time
    raise VirtualTimeError(f"A VirtualClock was asked in a trio run with {clock}. Run the program by run_virtual().")


def virtual_backend_options(backend: Backend, *, seed: int = 0) -> tuple[str, dict[str, object]]:
    """What an ``anyio_backend`` fixture returns so that async tests run in virtual time.

    Call it anew for each run. ``seed`` as in :func:`run_virtual`. On trio a deadlock is not reported, it hangs: give
    the test a timeout or use :func:`run_virtual`.
    """
    if backend == "asyncio":
        return backend, {"loop_factory": VirtualEventLoop}
    run = TrioRun(seed)
    return backend, {"clock": run.clock, "instruments": [run]}


def run_virtual(
    main: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, backend: Backend = "asyncio", seed: int = 0
) -> T:
    """Run ``main(*args)`` to its end in virtual time and return its result.

    ``seed`` sets the order in which trio runs the tasks that can run. On asyncio it has no effect, as they run first
    come, first served. Same program and same seed: same steps in the same order.

    Raises :class:`Deadlock` if nothing can run and no timer is set, and what ``main`` raises.
    """
    if backend == "asyncio":
        return anyio.run(main, *args, backend_options={"loop_factory": VirtualEventLoop})
    import trio

    run = TrioRun(seed)
    results: list[T] = []

    @wraps(main)
    async def watched() -> None:
        with run.ending_deadlocks():
            results.append(await main(*args))

    try:
        trio.run(watched, clock=run.clock, instruments=[cast("Instrument", run)])
    except Exception as error:
        if run.deadlock is None:
            raise
        raise run.deadlock from error
    if run.deadlock is not None:  # whatever the program made of being cancelled
        raise run.deadlock
    return results[0]
