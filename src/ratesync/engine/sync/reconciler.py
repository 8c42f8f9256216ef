"""Reconciling a chunk of records: read, decide, write down, write, settle. Each phase takes all of them together."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from attrs import field, frozen

from ratesync.clock import Clock
from ratesync.engine.sync.arrivals import Arrivals
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.creations import Creations
from ratesync.engine.sync.endings import Endings
from ratesync.engine.sync.ignored import Ignored
from ratesync.engine.sync.leases import Leases
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.saving import Draft, draft_of
from ratesync.engine.sync.side import Trouble
from ratesync.engine.sync.steps import Planner
from ratesync.engine.sync.waiting import Waiting
from ratesync.errors import InvalidPayload
from ratesync.model.difference import Side
from ratesync.model.intent import Creating, Intent, Step
from ratesync.model.link import LinkStatus
from ratesync.model.outcome import Applied, Outcome
from ratesync.model.stored import Write
from ratesync.model.sync_settings import SyncSettings
from ratesync.randomness import operation_id
from ratesync.rules.reconcile import Action

_ORDER = (Side.EXTERNAL, Side.LOCAL)
"""The provider first: what it refuses need not be undone on the host's side."""


@frozen
class Reconciler:
    """Brings records of both sides together, whatever was left half done, and by whomever."""

    pair: Pair
    books: Books
    settings: SyncSettings
    clock: Clock
    source: random.Random
    owner: str
    """Names this engine in intents."""
    is_dry: bool = False
    """Only look: decide, and write nothing."""
    _writing: list[Case] = field(factory=list[Case], init=False, eq=False)
    """Cases whose orders are being carried out."""

    async def run(self, cases: Sequence[Case], *, may_delete: bool, is_stuck: bool = False) -> None:
        """Work on the cases until each is done or left.

        :param may_delete: False: a delete that is due is put off, and written down as such.
        :param is_stuck: nothing else gets done in this pass: records that wait for others need not wait for each other.
        """
        for number in range(self.settings.max_rounds):
            pending = self.books.still_open(cases)
            if not pending:
                return
            if number:
                await self.books.refresh({case.link.link_id: case for case in pending if case.link is not None})
            await self._round(self.books.still_open(pending), may_delete=may_delete, is_stuck=is_stuck)
        for case in self.books.still_open(cases):
            case.leave("others keep changing it")

    def begin(self, step: Step, op_id: str | None) -> Intent:
        """A new intent of ours."""
        now = self.clock.now()
        return Intent(op_id or operation_id(now, self.source), self.owner, now + self.settings.lease, now, step)

    async def _round(self, cases: list[Case], *, may_delete: bool, is_stuck: bool) -> None:
        met = cases
        for case in cases:
            self._check(case)
        waiting = Waiting(self.books, self.pair.references, is_stuck)
        self.pair.references.forget()
        await waiting.rouse(self.books.still_open(cases))
        cases = self.books.still_open(cases)
        await self._read(cases)
        await self._meet([case for case in self.books.still_open(cases) if case.link is None and not case.is_doubted])
        await waiting.learn(self.books.still_open(cases))
        cases = self.books.still_open(cases)
        planner = Planner(self.pair, self.begin, is_stuck)
        creating = [case for case in cases if _is_creating(case)]
        if self.is_dry:
            await self._foresee(planner, cases, may_delete=may_delete)
            return
        await Creations(self.pair, self.books, self.clock, self._leases(creating)).find(creating)
        for case in cases:
            if case not in creating:
                self._plan(planner, case, may_delete=may_delete)
        await waiting.keep(met)
        cases = [case for case in self.books.still_open(cases) if case not in creating and not case.is_doubted]
        await self._write_down(cases)
        self._writing[:] = [case for case in self.books.still_open(cases) if case.orders]
        for side in _ORDER:
            await self._write(side, [case for case in self.books.still_open(self._writing) if side in case.orders])
        await self._end(self.books.still_open(self._writing))
        self._writing.clear()

    async def wind_up(self) -> None:
        """Store what is known of the writes, when a pass was broken off: which were answered, and which not sent."""
        cases = self.books.still_open(self._writing)
        self._writing.clear()
        await self._end([case for case in cases if len(case.answers) == len(case.orders) or not case.is_sent])

    async def _foresee(self, planner: Planner, cases: Iterable[Case], *, may_delete: bool) -> None:
        """Note what would be done. Deletes are put off as they will be."""
        matched: list[Write] = []
        put_off: list[Draft] = []
        for case in cases:
            self._plan(planner, case, may_delete=may_delete)
            if case.state is CaseState.OPEN and not case.is_doubted:
                case.state = CaseState.DONE
                if not may_delete and case.next is not None and case.next.is_held:
                    put_off.append(draft_of(case, self.books.keys, clear=False))
                    continue
                case.actions.append(Action.LINK if case.found is None else case.found.action)
                if case.link is None and case.next is not None:  # its other half would be linked as well by then
                    ids = {side: case.next.end(side).record_id for side in Side}
                    matched += [Write(self.books.keys.mark(side, each), None) for side, each in ids.items() if each]
        await self.books.commit(put_off)
        await self.books.state.commit(matched)

    async def _meet(self, cases: list[Case]) -> None:
        """Link records that have no link; those that are gone, or left alone, need none."""
        await Arrivals(self.pair, self.books, self._new_id, self.is_dry).meet(cases)
        await self.books.commit(self._met(case) for case in cases if case.state is CaseState.DONE)

    def _met(self, case: Case) -> Draft:
        """What ends a case that gets no link: its record is gone, or is left alone."""
        draft = draft_of(case, self.books.keys, clear=True)
        draft.writes += [write for side in Side for write in Ignored(self.pair.side(side), self.books).note(case)]
        return draft

    def _new_id(self) -> str:
        return operation_id(self.clock.now(), self.source)

    def _leases(self, cases: Sequence[Case]) -> Leases:
        return Leases(self.books, self.settings, self.clock, self.owner, cases)

    def _check(self, case: Case) -> None:
        """Leave what is not to be touched now."""
        link, now = case.link, self.clock.now()
        case.held, case.answers, case.orders, case.next, case.lacks, case.is_sent = {}, {}, {}, None, (), False
        if link is None:
            return
        if link.status is LinkStatus.AMBIGUOUS_CREATE:
            case.leave("a record may or may not have been made: a person must look")
        elif link.intent is not None and link.intent.owner != self.owner and link.intent.until > now:
            case.leave("another engine works on it")

    async def _read(self, cases: Sequence[Case]) -> None:
        """What both sides hold now, all records of a side together."""
        for side in Side:
            wanted: defaultdict[str, list[Case]] = defaultdict(list)
            for case in cases:
                record_id = case.record_id(side)
                if record_id is not None:  # several cases, if its link was stored by another engine just now
                    wanted[record_id].append(case)
            if not wanted:
                continue
            for record_id, held in (await self.pair.side(side).read(wanted)).items():
                for case in wanted[record_id]:
                    if isinstance(held, Trouble):
                        case.leave(held.reason)
                    else:
                        case.held[side] = held
        lagging = [side for side in Side if self.pair.side(side).may_lag]
        for case in cases:
            case.doubt(() if _is_creating(case) else lagging)  # what is only being made may be there the next time

    def _plan(self, planner: Planner, case: Case, *, may_delete: bool) -> None:
        link = case.next if case.link is None else case.link
        if link is None:
            return
        if case.link is None and all(link.end(side).record_id is not None for side in Side):
            return  # it was just matched: store the link first, and read the other record
        try:
            planner.plan(case, link, may_delete_now=may_delete)
        except InvalidPayload as error:
            case.leave(str(error))
        except Exception as error:  # noqa: BLE001  a resolver or a mapping of the host's may raise anything
            case.leave(f"{type(error).__name__} while deciding")

    async def _write_down(self, cases: Sequence[Case]) -> None:
        """Store intents, with what they drop; and the ends of those that need no write."""
        drafts: list[Draft] = []
        ending: list[Case] = []
        for case in cases:
            is_matched = case.link is None and not case.orders
            ends = not case.orders and not is_matched and not case.finishes_earlier
            if ends:
                ending.append(case)
            drafts.append(draft_of(case, self.books.keys, clear=ends))
        await self.books.commit(drafts)
        for case in self.books.still_open(ending):
            self._finish(case)
            is_put_off = case.link is not None and case.link.is_held
            if case.found is not None and not is_put_off:
                case.actions.append(case.found.action)

    async def _write(self, side: Side, cases: list[Case]) -> None:
        """Send the orders for one side, of those whose earlier writes were applied."""
        cases = [case for case in cases if all(isinstance(answer, Applied) for answer in case.answers.values())]
        by_step = {case.orders[side].op_id: case for case in cases}
        orders = [case.orders[side] for case in cases]
        leases = self._leases(cases)

        async def keep(op_ids: Collection[str]) -> Collection[str]:
            kept = await leases.keep(op_ids)
            for op_id in kept:
                by_step[op_id].is_sent = True
            return kept

        def tell(op_id: str, answer: Outcome) -> None:
            by_step[op_id].answers[side] = answer

        await self.pair.side(side).write(orders, tell, keep)

    async def _end(self, cases: Sequence[Case]) -> None:
        """Store what the writes came to."""
        endings = Endings(self.pair, self.settings, self.clock)
        drafts: list[Draft] = []
        done: list[Case] = []
        for case in cases:
            if self._settle(endings, case):
                done.append(case)
            if case.next is not None:
                drafts.append(draft_of(case, self.books.keys, clear=case in done))
        await self.books.commit(drafts)
        for case in self.books.still_open(done):
            self._finish(case)

    def _settle(self, endings: Endings, case: Case) -> bool:
        try:
            return endings.end(case)
        except Exception as error:  # noqa: BLE001  a mapping of the host's may raise anything
            case.leave(f"{type(error).__name__} in the mapping of what was written")
            return False

    def _finish(self, case: Case) -> None:
        """Nothing is left to do but what waits for other records."""
        if case.lacks:
            case.leave(self.pair.references.reason(case.lacks))
        else:
            case.state = CaseState.DONE


def _is_creating(case: Case) -> bool:
    link = case.link
    return link is not None and link.intent is not None and isinstance(link.intent.step, Creating)
