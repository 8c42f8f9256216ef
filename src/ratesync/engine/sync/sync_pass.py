"""One pass: pull from both sides, reconcile what is marked, and then the deletes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.pull import Pulled, Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.errors import ProviderError
from ratesync.model.difference import Side
from ratesync.model.run import SyncRun

_MOST_SWEEPS = 4
"""How often all marks are gone through in one pass, as long as that gets some of them done."""


@define
class Pass:
    """Runs once."""

    reconciler: Reconciler
    run: SyncRun
    note: Callable[[Case], None]
    """Is told of each case that came to an end."""
    pulled: dict[Side, Pulled] = field(factory=dict[Side, Pulled])

    async def carry_out(self) -> SyncRun:
        """Do all of it. What fails for a single record is left for a later pass."""
        for side in Side:
            await self._pull(side)
        for _ in range(_MOST_SWEEPS):
            done, left = await self._sweep()
            if not done or not left:
                break
        await Deletions(self.reconciler, self._note).carry_out(self.run, self.pulled)
        return self.run

    async def look(self) -> SyncRun:
        """Find out what would be done, with a reconciler that only looks."""
        for side in Side:
            await self._pull(side)
        await self._sweep()
        return self.run

    async def _pull(self, side: Side) -> None:
        reconciler = self.reconciler
        puller = Puller(reconciler.pair.side(side), reconciler.books, reconciler.settings, reconciler.clock)
        try:
            await puller.pull()
        except ProviderError as error:
            self.run.errors.append(f"{side}: {type(error).__name__}")
        self.pulled[side] = puller.pulled

    async def _sweep(self) -> tuple[int, int]:
        """Go through all marks once; how many cases were done, and how many left."""
        done = left = self.run.left = 0
        after: str | None = None
        while True:
            marks, after = await self.reconciler.books.marks(after, self.reconciler.settings.chunk)
            if marks:
                cases = await self.reconciler.books.open(marks)
                await self.reconciler.run(cases, may_delete=False)
                self._note(cases)
                done += sum(case.state is CaseState.DONE for case in cases)
                left += sum(case.state is CaseState.LEFT for case in cases)
            if after is None:
                return done, left

    def _note(self, cases: Sequence[Case]) -> None:
        for case in cases:
            self.run.actions.update(str(action) for action in case.actions)
            self.run.left += case.state is CaseState.LEFT
            self.note(case)
