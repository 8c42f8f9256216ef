"""Creations that were begun earlier: was the record made?"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from ratesync.clock import Clock
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.endings import created, not_made, quarantined
from ratesync.engine.sync.leases import Leases
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.saving import Draft, draft_of
from ratesync.engine.sync.side import Make
from ratesync.model.intent import Creating, Fate
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater
from ratesync.rules.reconcile import Action


@frozen
class Creations:
    """Settles creations whose answer was lost. A record is never made twice."""

    pair: Pair
    books: Books
    clock: Clock
    leases: Leases
    """Of the steps."""

    async def find(self, cases: Sequence[Case]) -> None:
        """Find or make the records; another round then compares them with what they were made after."""
        await self.leases.keep()  # before anything is written, so that a late owner can settle nothing
        drafts: list[Draft] = []
        for case in self.books.still_open(cases):
            await self._find(case)
            if case.next is not None:
                drafts.append(draft_of(case, self.books.keys, clear=case.state is CaseState.DONE))
        await self.books.commit(drafts)

    async def _find(self, case: Case) -> None:
        link = case.link
        case.next = None
        if link is None or link.intent is None or not isinstance(link.intent.step, Creating):
            return
        step, side = link.intent.step, self.pair.side(link.intent.step.side)
        now, order = self.clock.now(), Make(link.intent.op_id, step.view, step.record_id)
        fate = await side.make_sure(
            order,
            now - step.over_at,
            begun_ago=now - link.intent.started_at,
            is_wanted=step.side.other in case.held,
            keep=self.leases.keep,
        )
        if case.state is not CaseState.OPEN:  # another engine has taken it over
            return
        try:
            case.next = self._next(case, link, step, fate)
        except Exception as error:  # noqa: BLE001  a mapping of the host's may raise anything
            case.leave(f"{type(error).__name__} in the mapping of a record that was made")

    def _next(self, case: Case, link: RecordLink, step: Creating, fate: Outcome | Fate) -> RecordLink | None:
        match fate:
            case Applied(str(record_id)):
                sent = self.pair.side(step.side).as_stored(None, step.view)
                case.actions.append(Action.CREATE)
                return created(link, step, record_id, sent, version=None, answer=None)
            case Fate.NOT_MADE:
                return not_made(link, step.side)
            case Fate.CANNOT_TELL:
                case.state = CaseState.DONE
                case.reason = "the answer to a create was lost, and the provider cannot tell whether it was carried out"
                return evolve(link, status=LinkStatus.AMBIGUOUS_CREATE, trouble=case.reason)
            case Rejected(reason):
                case.state = CaseState.DONE
                return quarantined(link, reason, case.held)
            case Conflict(reason) | RetryLater(reason):  # such as a record of the same key, which is not ours
                case.leave(reason)
                return None
            case _:
                case.leave("the answer to a create is out")
                return None
