"""One pass over a binding: pull from both sides, reconcile what is marked, and then the deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from attrs import define, field

from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.pull import Pulled, Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sightings import Sightings
from ratesync.errors import ProviderError
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.run import MOST_REASONS, MOST_TROUBLES, RecordTrouble, RunKind, RunPhase, SyncRun

_LONGEST_REASON = 200
_MOST_LEFT = 10_000

Record = tuple[Side, str]


async def always() -> bool:
    """Never stop early."""
    return True


@define
class Pass:
    """Runs once, by :class:`~ratesync.engine.sync.joint_pass.JointPass`."""

    reconciler: Reconciler
    run: SyncRun
    note: Callable[[Case], None]
    """Is told of each case that came to an end."""
    may_go_on: Callable[[], Awaitable[bool]] = always
    """Is asked before each chunk; False ends the pass, and what it did not come to stays marked."""
    progress: Callable[[], None] = lambda: None
    """Is told after each page and chunk of a pass that lists all records of a side, as a resync and a first pass do."""
    skips: Mapping[Record, int] = field(factory=dict[Record, int])
    """Marks to leave out as long as they have this revision: they were left a moment ago."""
    pulled: dict[Side, Pulled] = field(factory=dict[Side, Pulled])
    """What was read of the sides, of those that could be read to the end."""
    left: dict[Record, int] = field(factory=dict[Record, int], init=False)
    """Marks that were left, and their revisions, as far as they are few."""
    waiting: int = field(default=0, init=False)
    """Records that the latest sweep left to wait for others, which they refer to."""
    _lists: bool = field(default=False, init=False)
    """A side is read from its beginning."""
    _sightings: Sightings = field(factory=Sightings, init=False)
    _passed_over: tuple[RecordTrouble, ...] = field(default=(), init=False)
    """Records that cannot be marked."""
    _troubles: dict[Record, str] = field(factory=dict[Record, str], init=False)

    async def pull(self) -> None:
        """Read what changed on both sides, in a pass that goes through changes."""
        if self.run.kind is RunKind.CHANGES:
            for side in Side:
                await self._pull(side)
        self._passed_over = tuple(self.run.troubles)
        self.run.phase = RunPhase.RECONCILE

    async def delete(self) -> None:
        """Carry out the deletes that were put off, or hold them."""
        self.run.phase = RunPhase.DELETE
        await Deletions(self.reconciler, self._note, self._sightings.note_held).carry_out(self.run, self.pulled)
        self._tell_sightings()
        self.run.phase = RunPhase.DONE

    async def look(self) -> SyncRun:
        """Find out what would be done, with a reconciler that only looks."""
        await self.pull()
        await self.sweep()
        await self.delete()
        return self.run

    async def _pull(self, side: Side) -> None:
        reconciler, run = self.reconciler, self.run
        pages, records = run.pages, run.records
        puller = Puller(
            reconciler.pair.side(side),
            reconciler.books,
            reconciler.settings,
            reconciler.clock,
            tell_listed=partial(self._tell_listed, pages, records),
        )
        try:
            await puller.pull()
            if puller.pulled.is_whole:
                self.pulled[side] = puller.pulled
        except ProviderError as error:
            run.errors.append(f"{side}: {type(error).__name__}")
            run.retry_after = max(run.retry_after or 0.0, getattr(error, "retry_after", None) or 0.0) or None
        pulled = puller.pulled
        run.pages, run.records = pages + pulled.pages, records + pulled.changes
        run.missing += pulled.missing
        run.cursors[side] = pulled.cursor_before, pulled.cursor
        run.note_impossible(side, pulled.impossible)

    def _tell_listed(self, pages: int, records: int, pulled: Pulled) -> None:
        """A page of a listing was read; before this side there were so many pages and records."""
        self._lists = True
        self.run.pages, self.run.records = pages + pulled.pages, records + pulled.changes
        self.progress()

    async def sweep(self, *, is_stuck: bool = False) -> bool:
        """Go through all marks once; whether that got anything done.

        :param is_stuck: nothing else does any more: see :meth:`Reconciler.run`.
        """
        run = self.run
        run.left, self.waiting, has_moved = 0, 0, False
        run.reasons.clear()
        self._sightings.begin_sweep()
        after: str | None = None
        while True:
            if not await self.may_go_on():
                run.is_stopped = True
                return has_moved
            marks, after = await self.reconciler.books.marks(after, self.reconciler.settings.chunk)
            marks = [mark for mark in marks if self.skips.get(_record(mark)) != mark.revision]
            if marks:
                cases = await self.reconciler.books.open(marks)
                await self.reconciler.run(cases, may_delete=False, is_stuck=is_stuck)
                self._note(cases)
                has_moved |= any(case.state is CaseState.DONE or case.actions for case in cases)
                if run.marks_left is not None:
                    run.marks_left = max(run.marks_left - len(marks), 0)
                if self._lists or run.kind is RunKind.RESYNC:
                    self.progress()
            if after is None:
                return has_moved

    def _note(self, cases: Sequence[Case]) -> None:
        run = self.run
        for case in cases:
            run.actions.update(str(action) for action in case.actions)
            self._sightings.note(case)
            if case.state is CaseState.LEFT:
                self._note_left(case)
            self._note_trouble(case)
            self.note(case)
        self._tell_sightings()
        found = [RecordTrouble(*record, reason) for record, reason in self._troubles.items()]
        run.troubles = [*self._passed_over, *found][:MOST_TROUBLES]

    def _tell_sightings(self) -> None:
        self.run.situations, self.run.samples = self._sightings.counts, dict(self._sightings.samples)

    def _note_left(self, case: Case) -> None:
        """It is left for a later pass."""
        run = self.run
        run.left += 1
        self.waiting += bool(case.lacks)
        if case.reason in run.reasons or len(run.reasons) < MOST_REASONS:
            run.reasons[case.reason] += 1
        self.left |= {_record(mark): mark.revision for mark in case.marks[: _MOST_LEFT - len(self.left)]}

    def _note_trouble(self, case: Case) -> None:
        """What is wrong with the records that it is about, or was."""
        records = [(side, record_id) for side in Side if (record_id := case.record_id(side)) is not None]
        for record in records:
            self._troubles.pop(record, None)
        if case.reason and records and len(self._troubles) < MOST_TROUBLES:
            self._troubles[records[-1]] = case.reason[:_LONGEST_REASON]


def _record(mark: Mark) -> Record:
    return mark.side, mark.record_id
