"""One pass over a binding: pull from both sides, reconcile what is marked, and then the deletes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.pull import Pulled, Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sightings import Sightings
from ratesync.errors import ProviderError
from ratesync.model.difference import Side
from ratesync.model.run import MOST_REASONS, SyncRun


@define
class Pass:
    """Runs once, by :class:`~ratesync.engine.sync.joint_pass.JointPass`."""

    reconciler: Reconciler
    run: SyncRun
    note: Callable[[Case], None]
    """Is told of each case that came to an end."""
    pulled: dict[Side, Pulled] = field(factory=dict[Side, Pulled])
    waiting: int = field(default=0, init=False)
    """Records that the latest sweep left to wait for others, which they refer to."""
    _sightings: Sightings = field(factory=Sightings, init=False)

    async def pull(self) -> None:
        """Read what changed on both sides."""
        for side in Side:
            await self._pull(side)

    async def delete(self) -> None:
        """Carry out the deletes that were put off, or hold them."""
        await Deletions(self.reconciler, self._note).carry_out(self.run, self.pulled)

    async def look(self) -> SyncRun:
        """Find out what would be done, with a reconciler that only looks."""
        await self.pull()
        await self.sweep()
        return self.run

    async def _pull(self, side: Side) -> None:
        reconciler = self.reconciler
        puller = Puller(reconciler.pair.side(side), reconciler.books, reconciler.settings, reconciler.clock)
        try:
            await puller.pull()
        except ProviderError as error:
            self.run.errors.append(f"{side}: {type(error).__name__}")
        self.pulled[side] = puller.pulled

    async def sweep(self, *, is_stuck: bool = False) -> bool:
        """Go through all marks once; whether that got anything done.

        :param is_stuck: nothing else does any more: see :meth:`Reconciler.run`.
        """
        self.run.left, self.waiting, has_moved = 0, 0, False
        self.run.reasons.clear()
        self._sightings.begin_sweep()
        after: str | None = None
        while True:
            marks, after = await self.reconciler.books.marks(after, self.reconciler.settings.chunk)
            if marks:
                cases = await self.reconciler.books.open(marks)
                await self.reconciler.run(cases, may_delete=False, is_stuck=is_stuck)
                self._note(cases)
                has_moved |= any(case.state is CaseState.DONE or case.actions for case in cases)
            if after is None:
                return has_moved

    def _note(self, cases: Sequence[Case]) -> None:
        run = self.run
        for case in cases:
            run.actions.update(str(action) for action in case.actions)
            self._sightings.note(case)
            if case.state is CaseState.LEFT:
                run.left += 1
                self.waiting += bool(case.lacks)
                if case.reason in run.reasons or len(run.reasons) < MOST_REASONS:
                    run.reasons[case.reason] += 1
            self.note(case)
        run.situations, run.samples = self._sightings.counts, dict(self._sightings.samples)
