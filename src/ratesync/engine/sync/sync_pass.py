"""One pass: pull from both sides, reconcile what is marked, and then the deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from attrs import define, field

from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.pull import Pulled, Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.errors import ProviderError
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.run import MOST_TROUBLES, RecordTrouble, RunKind, RunPhase, SyncRun

_MOST_SWEEPS = 4
"""How often all marks are gone through in one pass, as long as that gets some of them done."""

_LONGEST_REASON = 200
_MOST_LEFT = 10_000

Record = tuple[Side, str]


async def always() -> bool:
    """Never stop early."""
    return True


@define
class Pass:
    """Runs once."""

    reconciler: Reconciler
    run: SyncRun
    note: Callable[[Case], None]
    """Is told of each case that came to an end."""
    may_go_on: Callable[[], Awaitable[bool]] = always
    """Is asked before each chunk; False ends the pass, and what it did not come to stays marked."""
    progress: Callable[[], None] = lambda: None
    """Is told after each chunk."""
    skips: Mapping[Record, int] = field(factory=dict[Record, int])
    """Marks to leave out as long as they have this revision: they were left a moment ago."""
    pulled: dict[Side, Pulled] = field(factory=dict[Side, Pulled])
    """What was read of the sides, of those that could be read to the end."""
    left: dict[Record, int] = field(factory=dict[Record, int], init=False)
    """Marks that were left, and their revisions, as far as they are few."""
    _troubles: dict[Record, str] = field(factory=dict[Record, str], init=False)

    async def carry_out(self) -> SyncRun:
        """Do all of it. What fails for a single record is left for a later pass."""
        run = self.run
        if run.kind is RunKind.CHANGES:
            for side in Side:
                await self._pull(side)
        run.phase = RunPhase.RECONCILE
        for _ in range(_MOST_SWEEPS):
            done, left = await self._sweep()
            if run.is_stopped or not done or not left:
                break
        if not run.is_stopped:
            run.phase = RunPhase.DELETE
            await Deletions(self.reconciler, self._note).carry_out(run, self.pulled)
            run.phase = RunPhase.DONE
        return run

    async def look(self) -> SyncRun:
        """Find out what would be done, with a reconciler that only looks."""
        for side in Side:
            await self._pull(side)
        await self._sweep()
        return self.run

    async def _pull(self, side: Side) -> None:
        reconciler, run = self.reconciler, self.run
        puller = Puller(reconciler.pair.side(side), reconciler.books, reconciler.settings, reconciler.clock)
        try:
            await puller.pull()
            if puller.pulled.is_whole:
                self.pulled[side] = puller.pulled
        except ProviderError as error:
            run.errors.append(f"{side}: {type(error).__name__}")
            run.retry_after = max(run.retry_after or 0.0, getattr(error, "retry_after", None) or 0.0) or None
        pulled = puller.pulled
        run.pages += pulled.pages
        run.records += pulled.changes
        run.missing += pulled.missing
        run.cursors[side] = pulled.cursor_before, pulled.cursor

    async def _sweep(self) -> tuple[int, int]:
        """Go through all marks once; how many cases were done, and how many left."""
        done = left = self.run.left = 0
        after: str | None = None
        while True:
            if not await self.may_go_on():
                self.run.is_stopped = True
                return done, left
            marks, after = await self.reconciler.books.marks(after, self.reconciler.settings.chunk)
            marks = [mark for mark in marks if self.skips.get(_record(mark)) != mark.revision]
            if marks:
                cases = await self.reconciler.books.open(marks)
                await self.reconciler.run(cases, may_delete=False)
                self._note(cases)
                done += sum(case.state is CaseState.DONE for case in cases)
                left += sum(case.state is CaseState.LEFT for case in cases)
                if self.run.marks_left is not None:
                    self.run.marks_left = max(self.run.marks_left - len(marks), 0)
                self.progress()
            if after is None:
                return done, left

    def _note(self, cases: Sequence[Case]) -> None:
        for case in cases:
            self.run.actions.update(str(action) for action in case.actions)
            self.run.left += case.state is CaseState.LEFT
            self._note_marks(case)
            self.note(case)
        self.run.troubles = [RecordTrouble(*record, reason) for record, reason in self._troubles.items()]

    def _note_marks(self, case: Case) -> None:
        """What became of the records that it is about."""
        if case.state is CaseState.LEFT:
            self.left |= {_record(mark): mark.revision for mark in case.marks[: _MOST_LEFT - len(self.left)]}
        records = [(side, record_id) for side in Side if (record_id := case.record_id(side)) is not None]
        for record in records:
            self._troubles.pop(record, None)
        if case.reason and records and len(self._troubles) < MOST_TROUBLES:
            self._troubles[records[-1]] = case.reason[:_LONGEST_REASON]


def _record(mark: Mark) -> Record:
    return mark.side, mark.record_id
