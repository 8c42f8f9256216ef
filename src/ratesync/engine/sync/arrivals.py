"""Records that have no link yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.saving import mark_write
from ratesync.errors import ProviderError, StateConflict, UnsupportedOperation
from ratesync.model.difference import Side
from ratesync.model.held import Held
from ratesync.model.link import LinkEnd, RecordLink
from ratesync.rules.first_match import Match, SideKeys, Situation, first_match
from ratesync.rules.sameness import is_filled
from ratesync.rules.situations import Response

_MOST_CREATIONS = 10_000
"""Creations under way that are looked at. There are no more than engines work on at a time, and crashes left."""


@define
class Arrivals:
    """Finds out what a record without a link is: new, one of ours come back, or the same as one of the other side.

    Made anew for each chunk, after its records were read.
    """

    pair: Pair
    books: Books
    new_link_id: Callable[[], str]
    _under_way: dict[Side, tuple[str, ...]] = field(factory=dict[Side, tuple[str, ...]], init=False)
    """Creations whose answer is out, by side, once that was asked."""

    async def meet(self, cases: Sequence[Case]) -> None:
        """Give each case a link, or leave it. Its record was read; one that is gone is done."""
        present: list[Case] = []
        for case in cases:
            case.met = case.unlinked
            if case.held:
                present.append(case)
            else:
                case.state = CaseState.DONE
        free = [case for case in present if not await self._may_be_ours(case)]
        claimed: dict[tuple[Side, str], Case] = {}
        ours = [case for case in free if self._is_ours(case)]
        try:
            matches = await self._matches(ours)
        except ProviderError as error:
            for case in ours:
                case.leave(f"{type(error).__name__} while looking for records of the same key")
            return
        for case, match in matches:
            self._link(case, match, claimed)

    async def _may_be_ours(self, case: Case) -> bool:
        """Whether it may be what a creation of ours made whose answer is still out, or was lost.

        Only creations that were under way when it was first met can have made it; those are waited for.
        """
        (mark,) = case.marks
        keys, state = self.books.keys, self.books.state
        if mark.waits_for:
            open_still = await state.load([keys.creation(mark.side, link_id) for link_id in mark.waits_for])
            if not any(open_still):
                return False
            case.leave("it may be what a creation made whose answer is out")
            return True
        under_way = await self._creations(mark.side)
        if not under_way:
            return False
        waiting = evolve(mark, waits_for=under_way)
        with suppress(StateConflict):
            await state.commit([mark_write(waiting, keys, if_revision=mark.revision)])
        case.leave("it may be what a creation made whose answer is out")
        return True

    async def _creations(self, side: Side) -> tuple[str, ...]:
        if side not in self._under_way:
            prefix = self.books.keys.creations(side)
            found = await self.books.state.scan(prefix, limit=_MOST_CREATIONS)
            self._under_way[side] = tuple(stored.key[len(prefix) :] for stored in found)
        return self._under_way[side]

    def _is_ours(self, case: Case) -> bool:
        try:
            is_ours = self.pair.is_in_scope(held.view for held in case.held.values())
        except Exception as error:  # noqa: BLE001  a function of the host's may raise anything
            case.leave(f"{type(error).__name__} in the scope")
            return False
        return is_ours or self._responds(case, Situation.OUT_OF_SCOPE)

    def _responds(self, case: Case, situation: Situation) -> bool:
        """Note the situation and what the policy says of it; whether the record is to be linked."""
        case.situation, case.response = situation, self.pair.policy[situation]
        match case.response:
            case Response.IGNORE:
                case.state = CaseState.DONE
            case Response.REPORT:
                case.leave(f"first match: {situation}")
            case Response.LINK | Response.CREATE:
                return True
        return False

    async def _matches(self, cases: Sequence[Case]) -> list[tuple[Case, Match]]:
        """What each is to the others. One whose key cannot be searched for is left, and holds up no other."""
        try:
            return await self._match(cases)
        except UnsupportedOperation as error:
            if error.path != "values":
                raise
        if len(cases) == 1:
            cases[0].leave("the provider cannot search for its match key")
            return []
        half = len(cases) // 2
        return [*await self._matches(cases[:half]), *await self._matches(cases[half:])]

    async def _match(self, cases: Sequence[Case]) -> list[tuple[Case, Match]]:
        if not self.pair.match_keys:
            return [(case, _alone(case)) for case in cases]
        found: dict[Side, dict[str, Held]] = {side: {} for side in Side}
        for case in cases:
            for side, held in case.held.items():
                found[side][held.record.record_id] = held
        views = [held.view for case in cases for held in case.held.values()]
        for name in self.pair.match_keys:
            values = list(dict.fromkeys(str(view[name]) for view in views if is_filled(view.get(name))))
            for side in Side if values else ():
                for held in await self.pair.side(side).find(name, values):
                    found[side].setdefault(held.record.record_id, held)
        keys = {side: await self._keys(side, found[side]) for side in Side}
        by_record: defaultdict[tuple[Side, str], list[Match]] = defaultdict(list)
        for match in first_match(keys[Side.LOCAL], keys[Side.EXTERNAL]):
            for record_id in match.local_ids:
                by_record[Side.LOCAL, record_id].append(match)
            for record_id in match.external_ids:
                by_record[Side.EXTERNAL, record_id].append(match)
        return [
            (case, by_record[record][0])
            for case in cases
            if (record := case.unlinked) is not None and record in by_record
        ]

    async def _keys(self, side: Side, found: dict[str, Held]) -> SideKeys:
        linked = await self.books.link_ids([(side, record_id) for record_id in found])
        keys = {record_id: self._key(held) for record_id, held in found.items()}
        taken = frozenset(record_id for record_id, link_id in zip(found, linked, strict=True) if link_id is not None)
        return SideKeys(keys, taken)

    def _key(self, held: Held) -> str | None:
        """The first of the match keys that it has, as compared: regardless of case and of blanks around."""
        for name in self.pair.match_keys:
            value: Any = held.view.get(name)
            if is_filled(value):
                return f"{name}={str(value).strip().casefold()}"
        return None

    def _link(self, case: Case, match: Match, claimed: dict[tuple[Side, str], Case]) -> None:
        records = {(Side.LOCAL, record_id) for record_id in match.local_ids}
        records |= {(Side.EXTERNAL, record_id) for record_id in match.external_ids}
        if not self._responds(case, match.situation):
            return
        if records & claimed.keys():  # its other half stands in the same chunk: that one stands for both
            claimed[case.marks[0].side, case.marks[0].record_id].marks += case.marks
            case.marks, case.situation, case.response, case.state = [], None, None, CaseState.DONE
            return
        claimed |= dict.fromkeys(records, case)
        link = RecordLink(self.new_link_id())
        for side, record_id in records:
            link = link.with_end(side, LinkEnd(record_id))
        case.next = link


def _alone(case: Case) -> Match:
    mark = case.marks[0]
    if mark.side is Side.LOCAL:
        return Match(Situation.LOCAL_ONLY, (mark.record_id,))
    return Match(Situation.EXTERNAL_ONLY, (), (mark.record_id,))
