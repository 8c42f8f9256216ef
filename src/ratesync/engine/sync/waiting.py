"""Records that wait for others, which they refer to."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.saving import Draft, draft_of, mark_write
from ratesync.errors import InvalidPayload
from ratesync.model.difference import Side, View
from ratesync.model.intent import Creating, Decided
from ratesync.model.mark import Lack


@frozen
class Waiting:
    """Lets records sleep until what they wait for is there: a sleeping one costs no call.

    A mark that says what its record waits for says as well that nobody works on the record. So the marks of those that
    are woken are written anew before anything is read.
    """

    books: Books
    references: ReferenceTable
    is_stuck: bool
    """Nothing else gets done in this pass: see :func:`~ratesync.rules.references.may_leave_out`."""

    async def rouse(self, cases: Sequence[Case]) -> None:
        """Leave those that must sleep on, and wake the others."""
        marked = [case for case in cases if any(mark.lacks for mark in case.marks)]
        if not marked:
            return
        lacks = {id(case): _lacks(case) for case in marked}
        await self.references.learn(lack for each in lacks.values() for lack in each)
        if self.is_stuck:
            await self.references.look_ahead(lack for case in marked if case.link is None for lack in lacks[id(case)])
        woken: list[Case] = []
        for case in marked:
            if self._sleeps(case, lacks[id(case)]):
                case.wait(lacks[id(case)], self.references.reason(lacks[id(case)]))
            else:
                woken.append(case)
        await self.books.commit(map(self._waking, woken))

    def _sleeps(self, case: Case, lacks: Sequence[Lack]) -> bool:
        if not all(mark.lacks for mark in case.marks):  # something else is new
            return False
        if not all(map(self.references.is_missing, lacks)):
            return False
        may_be_made = case.link is None and self.is_stuck
        return not may_be_made or self.references.must_wait(lacks, is_stuck=True)

    def _waking(self, case: Case) -> Draft:
        case.marks = [evolve(mark, lacks=()) for mark in case.marks]
        return Draft(case, [mark_write(mark, self.books.keys, if_revision=mark.revision) for mark in case.marks])

    async def learn(self, cases: Sequence[Case]) -> None:
        """Find out about all that the records in hand refer to."""
        if not self.references.references:
            return
        views = [held.view for case in cases for held in case.held.values()]
        steps = [case.link.intent.step for case in cases if case.link is not None and case.link.intent is not None]
        await self.references.learn_views([*views, *(s.view for s in steps if isinstance(s, Creating | Decided))])
        missing: list[Lack] = []
        for case in cases:
            if len(case.held) == 1:
                ((side, held),) = case.held.items()
                missing += self._missing(case, side, held.view)
        await self.references.look_ahead(missing)

    def _missing(self, case: Case, side: Side, view: View) -> Sequence[Lack]:
        try:
            return self.references.all_lacks(view, side.other)
        except InvalidPayload as error:
            case.leave(str(error))
            return ()

    async def keep(self, cases: Sequence[Case]) -> None:
        """Note in the marks of records that were left what they wait for."""
        waiting = [case for case in cases if case.state is CaseState.LEFT and case.lacks]
        await self.books.commit(draft_of(case, self.books.keys, clear=True) for case in waiting)


def _lacks(case: Case) -> tuple[Lack, ...]:
    return tuple(dict.fromkeys(lack for mark in case.marks for lack in mark.lacks))
