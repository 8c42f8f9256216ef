"""Records that have no link yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, evolve, field

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.key_search import KeySearch
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.saving import mark_write
from ratesync.errors import ProviderError, StateConflict
from ratesync.model.difference import Side
from ratesync.model.link import LinkEnd, RecordLink
from ratesync.rules.first_match import Place, Situation, first_match
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
    is_dry: bool = False
    """Nothing will be made."""
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
        ours = [case for case in free if self._is_ours(case)]
        search = KeySearch(self.pair)
        try:
            await search.look(held for case in ours for held in case.held.items())
        except ProviderError as error:
            for case in ours:
                case.leave(f"{type(error).__name__} while looking for records of the same key")
            return
        await self._link_all(ours, search)

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

    async def _link_all(self, cases: Sequence[Case], search: KeySearch) -> None:
        """One after the other, as if each were met alone: what was found for one is no news for another."""
        places = list(search.known)
        linked = await self.books.link_ids(places)
        taken = {place for place, link_id in zip(places, linked, strict=True) if link_id is not None}
        claimed: dict[Place, Case] = {}
        keys: set[tuple[int, str]] = set()
        for case in cases:
            place = case.unlinked
            if place is None or place in taken:  # another engine has linked it just now
                continue
            if place in claimed:  # its other half stands in the same chunk: that one stands for both
                claimed[place].marks += case.marks
                case.marks, case.state = [], CaseState.DONE
                continue
            match = first_match(place, search.sharing, taken | claimed.keys())
            own = search.keys(place)
            if not search.refused.isdisjoint(match.places):
                case.leave("the provider cannot search for its match key")
            elif len(match.places) == 1 and not keys.isdisjoint(own) and not self.is_dry:
                continue  # what is about to be made may be found by its key: look again in the next round
            elif self._responds(case, match.situation):
                claimed |= dict.fromkeys(match.places, case)
                keys |= own
                link = RecordLink(self.new_link_id())
                for side, record_id in match.places:
                    link = link.with_end(side, LinkEnd(record_id))
                case.next = link
