"""Looking for records that share a match key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.side import Found
from ratesync.model.difference import Side
from ratesync.model.held import Held
from ratesync.rules.first_match import Place
from ratesync.rules.match_value import folded, spellings, text_of


@frozen
class _Answer:
    """What a side said to values that were searched for together."""

    asked: frozenset[str]
    told: frozenset[Place]

    def gives(self, place: Place, text: str | None, own: Sequence[str]) -> bool | None:
        """Whether some of the values find a record with this text; None: others may have found it.

        One that is spelt like one of them is found by whatever side; one that nobody asked for in its own spelling, by
        a side that compares more generously.
        """
        if text in own:
            return True
        if place not in self.told:
            return False
        return None if text in self.asked else True


@define
class KeySearch:
    """Finds out who shares a key with whom, as each of them would find it out alone.

    So it does not matter what else is looked at, or in which order. A record shares a key with those that a side finds
    by its value, and whose own value is the same but for case and blanks around. Two that both have an earlier key,
    with other values, are not the same.
    """

    pair: Pair
    known: dict[Place, Held] = field(factory=dict[Place, Held], init=False)
    """The records that were given, and those that were found."""
    sharing: dict[Place, list[set[Place]]] = field(factory=dict[Place, "list[set[Place]]"], init=False)
    """The others that share a key with a record, for each key in order; empty behind the first that any shares."""
    refused: set[Place] = field(factory=set[Place], init=False)
    """Records whose value cannot be searched for."""

    async def look(self, held: Iterable[tuple[Side, Held]]) -> None:
        """Find those that share a key with one of the records.

        :raises ProviderError: a side does not answer.
        """
        self.known |= {(side, each.record.record_id): each for side, each in held}
        alone = list(self.known)
        for rank in range(len(self.pair.match_keys)):
            await self._ask(rank, alone)
            sharing = [self.sharing[place][rank] for place in alone]
            alone = [place for place in alone if not self.sharing[place][rank] and place not in self.refused]
            # Whether another record has a nearer claim to those that were found.
            fresh = {other for others in sharing if len(others) == 1 for other in others} - self.sharing.keys()
            for nearer in range(rank):
                await self._ask(nearer, sorted(fresh))

    def keys(self, place: Place) -> set[tuple[int, str]]:
        """A record's keys as they are compared: the rank of each, and its value."""
        texts = ((rank, self._text(place, rank)) for rank in range(len(self.pair.match_keys)))
        return {(rank, folded(text)) for rank, text in texts if text is not None}

    async def _ask(self, rank: int, places: Iterable[Place]) -> None:
        """Ask both sides for a key of some records."""
        texts: dict[Place, str] = {}
        for place in places:
            self.sharing.setdefault(place, [set() for _ in self.pair.match_keys])
            text = self._text(place, rank)
            if text is not None:
                texts[place] = text
        for side in Side if texts else ():
            await self._ask_side(side, rank, texts)

    async def _ask_side(self, side: Side, rank: int, texts: Mapping[Place, str]) -> None:
        name = self.pair.match_keys[rank]
        asked = list(dict.fromkeys(spelling for text in texts.values() for spelling in spellings(text)))
        found = await self.pair.side(side).find(name, asked)
        answer = _Answer(frozenset(asked), frozenset(self._learn(side, found)))
        alike: defaultdict[str, list[Place]] = defaultdict(list)
        for other in self.known:
            if other[0] is side and (text := self._text(other, rank)) is not None:
                alike[folded(text)].append(other)
        for place, text in texts.items():
            if not found.refused.isdisjoint(spellings(text)):
                self.refused.add(place)
                continue
            others = [each for each in alike[folded(text)] if each != place and not self._differ(place, each, rank)]
            self.sharing[place][rank] |= await self._found_by(text, others, answer, rank)

    def _learn(self, side: Side, found: Found) -> list[Place]:
        told = {(side, held.record.record_id): held for held in found.held}
        for place, held in told.items():
            self.known.setdefault(place, held)
        return list(told)

    async def _found_by(self, text: str, others: Sequence[Place], answer: _Answer, rank: int) -> set[Place]:
        """Those of the records of one side that a search for this value alone finds."""
        own = spellings(text)
        given = {other: answer.gives(other, self._text(other, rank), own) for other in others}
        if None in given.values():
            side = others[0][0]
            alone = self._learn(side, await self.pair.side(side).find(self.pair.match_keys[rank], own))
            given = {other: other in alone if is_given is None else is_given for other, is_given in given.items()}
        return {other for other, is_given in given.items() if is_given}

    def _text(self, place: Place, rank: int) -> str | None:
        return text_of(self.known[place].view.get(self.pair.match_keys[rank]))

    def _differ(self, place: Place, other: Place, rank: int) -> bool:
        """Whether the two have an earlier key both, with other values."""
        for earlier in range(rank):
            one, another = self._text(place, earlier), self._text(other, earlier)
            if one is not None and another is not None and folded(one) != folded(another):
                return True
        return False
