"""Making passes over one binding, each with its record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack

import anyio
from attrs import define, frozen

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.pull import Pulled
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.recorded import Recorder
from ratesync.engine.sync.resync import Resync
from ratesync.engine.sync.runner import Order
from ratesync.engine.sync.sync_pass import Pass
from ratesync.engine.sync.turn import LONGEST, Turn
from ratesync.errors import ProviderError, StateConflict
from ratesync.model.difference import Side
from ratesync.model.event import SyncProgressed
from ratesync.model.policy import RetryPolicy
from ratesync.model.run import RunKind, SyncRun
from ratesync.randomness import operation_id
from ratesync.rules.sync_schedule import back_off

_MOST_FAILURES = 5
"""Times in a row that a page of a full resync may fail before the resync ends, to be gone on with later."""


def ignore(_case: Case) -> None:
    """Take no note of a case."""


@define
class _Streak:
    """Failures since the last page."""

    pages: int = -1
    failures: int = 0

    def note(self, pages: int) -> int:
        """One more failure; how many there are in a row."""
        self.failures = self.failures + 1 if pages == self.pages else 1
        self.pages = pages
        return self.failures


@frozen
class PassMaker:
    """Makes the passes of one binding, one at a time."""

    recorder: Recorder
    retry: RetryPolicy

    async def make(self, order: Order, note: Callable[[Case], None] = ignore) -> SyncRun:
        """One pass, when it is its turn. Raises what the host's store and the state store raise."""
        async with self.recorder.memory.lock:
            run = order.run = self.new_run(order.kind)

            async def work(reconciler: Reconciler) -> None:
                one = Pass(reconciler, run, note, order.may_go_on, lambda: self.tell(run), skips=order.skips)
                await JointPass([one]).carry_out()
                order.left = one.left

            return await self.recorder.watch(run, work)

    def new_run(self, kind: RunKind) -> SyncRun:
        """The record of a pass that begins now."""
        reconciler = self.recorder.reconciler
        now = reconciler.clock.now()
        return SyncRun(operation_id(now, reconciler.source), now, kind=kind)

    async def resync(self, run: SyncRun, sides: Collection[Side], may_go_on: Callable[[], Awaitable[bool]]) -> None:
        """A full resync, or the rest of one. Other passes may be made while it lists.

        :raises StateConflict: another engine goes on with it.
        """
        await self._in_turn(run, sides, may_go_on, by_force=True)

    async def go_on_with_resync(self, may_go_on: Callable[[], Awaitable[bool]]) -> SyncRun:
        """The rest of a full resync that was broken off.

        :raises StateConflict: another engine makes it.
        """
        run = self.new_run(RunKind.RESYNC)
        await self._in_turn(run, (), may_go_on, by_force=False)
        return run

    async def _in_turn(
        self, run: SyncRun, sides: Collection[Side], may_go_on: Callable[[], Awaitable[bool]], *, by_force: bool
    ) -> None:
        reconciler = self.recorder.reconciler
        books = reconciler.books
        turn = Turn(books.state, books.keys.resync_turn, reconciler.clock, run.run_id, LONGEST)
        if await turn.take(by_force=by_force) is not None:
            raise StateConflict("another engine makes this resync", key=turn.key)

        async def may_still_go_on() -> bool:
            return await may_go_on() and await turn.take() is None

        try:
            await self._resync(run, sides, may_still_go_on)
        finally:
            await turn.give_back()

    async def _resync(self, run: SyncRun, sides: Collection[Side], may_go_on: Callable[[], Awaitable[bool]]) -> None:
        async def work(reconciler: Reconciler) -> None:
            resync = Resync(reconciler, run, may_go_on, lambda: self.tell(run))
            if not await resync.open(sides):
                return
            pulled = await self._list(resync, run)
            if pulled is None:
                return
            async with self.recorder.memory.lock:
                await resync.count_marks()
                one = Pass(reconciler, run, ignore, may_go_on, lambda: self.tell(run), pulled=pulled)
                await JointPass([one]).carry_out()
            if not run.is_stopped:
                await resync.end()

        await self.recorder.watch(run, work)

    async def _list(self, resync: Resync, run: SyncRun) -> dict[Side, Pulled] | None:
        """All sides, with patience for pages that fail. None: it did not come to the end."""
        streak, reconciler = _Streak(), self.recorder.reconciler
        while True:
            try:
                return await resync.list_sides()
            except ProviderError as error:
                failures = streak.note(run.pages)
                retry_after = getattr(error, "retry_after", None)
                if failures >= _MOST_FAILURES:
                    run.errors.append(type(error).__name__)
                    run.retry_after = retry_after
                    return None
                await anyio.sleep(back_off(self.retry, failures, retry_after, reconciler.source.random()))

    def tell(self, run: SyncRun) -> None:
        """Tell observers how far a run has come."""
        recorder = self.recorder
        if recorder.notify.active:
            lane, resource, now = recorder.binding.lane, recorder.binding.resource, recorder.reconciler.clock.now()
            counts = str(run.phase), run.pages, run.records, run.marks_left
            recorder.notify(SyncProgressed(now, lane, resource, run.run_id, *counts))


async def make_together(
    made: Sequence[tuple[PassMaker, SyncRun]],
    may_go_on: Callable[[], Awaitable[bool]],
    note: Callable[[Case], None],
) -> None:
    """One pass over each of several bindings, whose records may refer to each other; each with its record."""
    passes: list[Pass] = []

    async def open_rest(rest: Sequence[tuple[PassMaker, SyncRun]]) -> None:
        if not rest:
            await JointPass(passes).carry_out()
            return
        (maker, run), *others = rest

        async def work(reconciler: Reconciler) -> None:
            passes.append(Pass(reconciler, run, note, may_go_on, lambda: maker.tell(run)))
            await open_rest(others)

        await maker.recorder.watch(run, work)

    async with AsyncExitStack() as locked:
        for maker, _ in sorted(made, key=_place):  # in one order, so that nobody waits for one who waits for him
            await locked.enter_async_context(maker.recorder.memory.lock)
        await open_rest(made)


def _place(made: tuple[PassMaker, SyncRun]) -> str:
    return made[0].recorder.reconciler.books.keys.prefix
