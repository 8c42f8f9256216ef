"""The users of both sides. Every value that they write is another one, so that each can be accounted for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any, Protocol

from attrs import define, field

NAMES = ("name", "city", "note")
MOST_RECORDS = 12

Fields = Mapping[str, Any]


class Table(Protocol):
    """What users see of a side."""

    def records(self) -> dict[str, Fields]:
        """All records by id."""
        ...

    def writes(self) -> object:
        """Something that is another after each write, whoever made it."""
        ...

    def create(self, fields: Fields) -> None:
        """Make a record."""
        ...

    def change(self, record_id: str, seen: Fields, patch: Fields) -> bool:
        """Change a record, if it is still as it was seen."""
        ...

    def delete(self, record_id: str, seen: Fields) -> bool:
        """Delete a record, if it is still as it was seen."""
        ...


@define
class Users:
    """They create, change, empty and delete, on either side."""

    ours: Table
    theirs: Table
    random: random.Random
    written: set[str] = field(factory=set[str])
    ended: set[str] = field(factory=set[str])
    """Values that somebody saw, and replaced or deleted."""
    done: Counter[str] = field(factory=Counter[str])
    _values: Any = field(factory=lambda: count(1))

    def act(self, times: int = 1) -> None:
        """Do so many things."""
        for _ in range(times):
            side, name = self.random.choice(((self.ours, "ours"), (self.theirs, "theirs")))
            records, roll = side.records(), self.random.random()
            if not records or (roll < 0.2 and len(records) < MOST_RECORDS):
                self._create(side)
                self.done[f"create {name}"] += 1
                continue
            record_id = self.random.choice(sorted(records))
            self._touch(side, name, record_id, records[record_id], roll)

    def _create(self, side: Table) -> None:
        side.create({"origin": f"o{next(self._values)}"} | {name: self._value() for name in NAMES[:2]})

    def _touch(self, side: Table, where: str, record_id: str, seen: Fields, roll: float) -> None:
        replaced: tuple[str, ...] = NAMES
        if roll < 0.3:
            what, is_done = "delete", side.delete(record_id, seen)
        else:
            name = self.random.choice(NAMES)
            what, replaced = "change", (name,)
            is_done = side.change(record_id, seen, {name: None if roll > 0.95 else self._value()})
        if is_done:
            self.done[f"{what} {where}"] += 1
            self.ended |= {seen[name] for name in replaced if seen.get(name) is not None}

    def _value(self) -> str:
        value = f"v{next(self._values)}-Ł"
        self.written.add(value)
        return value

    def wrongs(self, dropped: Collection[str]) -> list[str]:
        """What is wrong at the end: records that differ or are double, values that are nowhere.

        :param dropped: the values of which the sync tells that it dropped them.
        """
        wrong: list[str] = []
        ours, theirs = ([_plain(fields) for fields in side.records().values()] for side in (self.ours, self.theirs))
        for here, there, where in ((ours, theirs, "only with us"), (theirs, ours, "only with them")):
            wrong += [f"{where}: {fields}" for fields in here if fields not in there]
        for where, here in (("ours", ours), ("theirs", theirs)):
            counts = Counter(fields["origin"] for fields in here)
            wrong += [f"double in {where}: {origin}" for origin, number in counts.items() if number > 1]
        held = {value for fields in (*ours, *theirs) for value in fields.values()}
        lost = self.written - self.ended - held - set(dropped)
        return wrong + [f"lost: {value}" for value in sorted(lost)]


def _plain(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
