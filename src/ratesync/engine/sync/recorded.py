"""Passes with a record: of each, what it did is stored, and observers are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from attrs import define, evolve, field, frozen

from ratesync.engine.notifier import Notifier
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.history import Journal
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.model.event import SyncFinished
from ratesync.model.run import SyncRun

_CLOSING_TIME = 2.0
"""Seconds for storing what was answered, and the record, of a pass that was broken off."""


@define
class Memory:
    """What an engine remembers of a binding while it runs."""

    lock: anyio.Lock = field(factory=anyio.Lock)
    """Passes of this engine take turns: they own each other's intents."""
    idle: int = 0
    """Passes since the last stored one that did nothing."""
    last: tuple[object, ...] = ()
    """What was wrong in the last pass. The same trouble once more is no news."""


@frozen
class Recorder:
    """Watches over the passes of one binding."""

    binding: Binding
    reconciler: Reconciler
    memory: Memory
    notify: Notifier
    keep: int
    """Runs that are kept in the history."""

    async def watch(self, run: SyncRun, work: Callable[[Reconciler], Awaitable[object]]) -> SyncRun:
        """Do the work of a run, by a reconciler whose writes take the run's record along."""
        books = self.reconciler.books
        journal = Journal(books.state, books.keys, run, self.reconciler.clock, self.keep)
        reconciler = evolve(self.reconciler, books=Books(journal, books.keys))
        try:
            await work(reconciler)
        except Exception as error:
            run.errors.append(type(error).__name__)
            await self._end_broken(run, journal, reconciler)
            raise
        except anyio.get_cancelled_exc_class():
            run.is_stopped = True
            await self._end_broken(run, journal, reconciler)
            raise
        await self._end(run, journal)
        return run

    async def _end_broken(self, run: SyncRun, journal: Journal, reconciler: Reconciler) -> None:
        with anyio.move_on_after(_CLOSING_TIME, shield=True):
            try:
                try:
                    await reconciler.wind_up()
                finally:
                    await self._end(run, journal)
            except Exception as error:  # noqa: BLE001  what broke the pass off is what the caller must see
                run.errors.append(f"what it came to was not stored: {type(error).__name__}")

    async def _end(self, run: SyncRun, journal: Journal) -> None:
        memory, now = self.memory, self.reconciler.clock.now()
        run.finished_at = now
        wrong = (run.errors, run.left, run.held, run.hold_reason, run.troubles)
        trouble = tuple(map(repr, wrong)) if any(wrong) else ()
        is_news = journal.is_stored or bool(trouble and trouble != memory.last)
        memory.last = trouble
        memory.idle += not is_news
        if is_news:
            run.idle_before, memory.idle = memory.idle, 0
            await journal.store()
        self._tell(run, now)

    def _tell(self, run: SyncRun, now: float) -> None:
        if self.notify.active:
            place = self.binding.lane, self.binding.resource, run.run_id, str(run.kind)
            counts = dict(run.actions), run.left, run.held, run.conflicts
            self.notify(SyncFinished(now, *place, now - run.started_at, *counts, tuple(run.errors)))
