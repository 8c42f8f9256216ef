"""Ids of records that others refer to, translated by the links of the bindings that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from attrs import define, field, frozen

from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import decode_link, decode_mark
from ratesync.errors import InvalidPayload
from ratesync.model.difference import ABSENT, Side, View
from ratesync.model.intent import Creating
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.mark import Lack
from ratesync.model.reference import Reference
from ratesync.protocols import StateStore
from ratesync.rules.references import Prospect, may_leave_out

_FOREIGN = "external_id"
_GONE = frozenset({LinkStatus.TOMBSTONE, LinkStatus.UNLINKED})

_Place = tuple[str, Side, str]
"""A record: its resource, its side, its id."""


@frozen
class Counterpart:
    """The other half of a record that is referred to."""

    record_id: str | None = None
    """None: nobody knows of one."""
    is_there: bool = False
    """It can be referred to. False: it is not made yet, or is gone."""
    prospect: Prospect = Prospect.NONE


@define
class ReferenceTable:
    """What is known of the records that those in hand refer to.

    In a view a reference has the id of the host's side. One that has none stands as ``{"external_id": "..."}``. So
    every record has a view, and a link that goes changes none. What cannot be *written* is told by :meth:`lacks`.
    """

    state: StateStore | None = None
    references: Mapping[str, Reference] = field(factory=dict[str, Reference])
    """By field of the view."""
    keys: Mapping[str, Keys] = field(factory=dict[str, Keys])
    """Where the state of the binding of each resource stands."""
    _known: dict[_Place, Counterpart] = field(factory=dict[_Place, Counterpart], init=False)

    def forget(self) -> None:
        """Begin anew, with the next chunk of records."""
        self._known.clear()

    # Translating

    def as_view(self, fields: View) -> View:
        """The view of a record, from what the mapping made of it. What it refers to must be known.

        :raises LookupError: it is not.
        """
        return self._each(fields, self._to_view)

    def as_sent(self, view: View) -> View:
        """The other way round: with ids of the provider's.

        :raises InvalidPayload: a record that is referred to has none.
        """
        return self._each(view, self._to_provider)

    def _each(self, fields: View, translate: Callable[[str, Any], Any]) -> View:
        found = {name: fields[name] for name in self.references if _is_set(fields.get(name))}
        return (
            {**fields, **{name: _mapped(value, name, translate) for name, value in found.items()}} if found else fields
        )

    def _to_view(self, name: str, value: Any) -> Any:
        local_id = self._known[self._place(Lack(name, Side.EXTERNAL, _text(name, value)))].record_id
        return {_FOREIGN: value} if local_id is None else local_id

    def _to_provider(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)[_FOREIGN]
        known = self._known.get(self._place(Lack(name, Side.LOCAL, _text(name, value))))
        if known is None or known.record_id is None:
            raise InvalidPayload("the record that it refers to has no counterpart", path=f"references.{name}")
        return known.record_id

    def _place(self, lack: Lack) -> _Place:
        return self.references[lack.name].resource, lack.side, lack.record_id

    # What cannot be written

    def lacks(self, name: str, side: Side, value: Any) -> list[Lack]:
        """The records that must be linked before a field can be given a value of a view on a side.

        :raises InvalidPayload: the value is no id.
        """
        if name not in self.references or not _is_set(value):
            return []
        return [lack for each in _listed(value) if (lack := self._lack(name, side, each)) is not None]

    def _lack(self, name: str, side: Side, value: Any) -> Lack | None:
        if isinstance(value, dict):
            foreign = Lack(name, Side.EXTERNAL, cast("dict[str, str]", value)[_FOREIGN])
            return foreign if side is Side.LOCAL else None
        lack = Lack(name, Side.LOCAL, _text(name, value))
        return lack if self.is_missing(lack) else None

    def all_lacks(self, view: View, side: Side) -> tuple[Lack, ...]:
        """The records that must be linked before a view can be written to a side as it is."""
        return tuple(lack for name in self.references for lack in self.lacks(name, side, view.get(name)))

    def is_missing(self, lack: Lack) -> bool:
        """Whether it has no counterpart that can be referred to."""
        known = self._known.get(self._place(lack))
        return known is None or not known.is_there

    def must_wait(self, lacks: Iterable[Lack], *, is_stuck: bool) -> bool:
        """Whether a record must not be made without the references to these, see :func:`may_leave_out`."""
        return not all(
            may_leave_out(
                self._prospect(self._place(lack)),
                is_required=self.references[lack.name].required,
                is_stuck=is_stuck,
            )
            for lack in lacks
        )

    def reason(self, lacks: Iterable[Lack]) -> str:
        """Why a record waits, in words and without values."""
        fields = dict.fromkeys(lack.name for lack in lacks)
        return "; ".join(f"{name}: its record of {self.references[name].resource} is not linked" for name in fields)

    # Finding out

    async def learn_raw(self, records: Iterable[View]) -> None:
        """Find out about all that the provider's records refer to, as the mapping gives them."""
        await self.learn(self._referred(records, Side.EXTERNAL))

    async def learn_views(self, views: Iterable[View]) -> None:
        """Find out about all that views refer to by ids of the host's side."""
        await self.learn(self._referred(views, Side.LOCAL))

    def _referred(self, records: Iterable[View], side: Side) -> list[Lack]:
        return [
            Lack(name, side, each)
            for record in (records if self.references else ())
            for name in self.references
            for each in _ids(record.get(name))
        ]

    def ids_of_own(self, keys: Keys, view: View) -> list[str]:
        """The records of the binding with these keys that a view refers to, by ids of the host's side."""
        return [
            record_id
            for name, reference in self.references.items()
            if self.keys[reference.resource] == keys
            for record_id in _ids(view.get(name))
        ]

    async def learn(self, lacks: Iterable[Lack]) -> None:
        """Find out about records that are not known yet, all of them with two loads of the state store."""
        wanted = dict.fromkeys(self._place(lack) for lack in lacks if lack.name in self.references)
        places = [place for place in wanted if place not in self._known]
        if not places or self.state is None:
            return
        found = await self.state.load([self.keys[resource].index(side, one) for resource, side, one in places])
        linked = {place: stored.value.decode() for place, stored in zip(places, found, strict=True) if stored}
        self._known |= {place: Counterpart() for place in places if place not in linked}
        if not linked:
            return
        links = await self.state.load([self.keys[place[0]].link(link_id) for place, link_id in linked.items()])
        for place, stored in zip(linked, links, strict=True):
            self._note(place, None if stored is None else decode_link(stored.value))

    def _note(self, place: _Place, link: RecordLink | None) -> None:
        resource, side, record_id = place
        if link is None or link.end(side).record_id != record_id:  # it was given up just now
            self._known[place] = Counterpart()
            return
        other_id = link.end(side.other).record_id
        is_made = link.intent is not None and isinstance(link.intent.step, Creating)
        is_there = other_id is not None and not is_made and link.status not in _GONE
        prospect = Prospect.COMING if is_made else Prospect.NONE
        self._known[place] = Counterpart(other_id, is_there, prospect)
        if other_id is not None:
            self._known[resource, side.other, other_id] = Counterpart(record_id, is_there, prospect)

    async def look_ahead(self, lacks: Iterable[Lack]) -> None:
        """Find out what is to be expected of missing records: one load of the state store.

        What was found out stays: a record that is woken does not seem to wait any more.
        """
        places = [place for place in dict.fromkeys(map(self._place, lacks)) if self._prospect(place) is Prospect.NONE]
        if not places or self.state is None:
            return
        marks = await self.state.load([self.keys[resource].mark(side, one) for resource, side, one in places])
        for place, stored in zip(places, marks, strict=True):
            known = self._known.get(place, Counterpart())
            if stored is not None:
                waits = decode_mark(stored.value, place[1], place[2], stored.revision).lacks
                prospect = Prospect.WAITING if waits else Prospect.COMING
                self._known[place] = Counterpart(known.record_id, known.is_there, prospect)

    def _prospect(self, place: _Place) -> Prospect:
        return self._known.get(place, Counterpart()).prospect


def _listed(value: Any) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _ids(value: Any) -> list[str]:
    return [each for each in _listed(value) if isinstance(each, str) and each]


def _is_set(value: Any) -> bool:
    return value is not ABSENT and value is not None and value != ""


def _mapped(value: Any, name: str, translate: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, list):
        return [translate(name, each) for each in _listed(value)]
    return translate(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        problem = f"must be the id of a record as text, not {type(value).__name__}: use codecs.record_id"
        raise InvalidPayload(problem, path=f"references.{name}")
    return value
