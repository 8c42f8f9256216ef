"""The host's records in this process's memory, as a side of a sync."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, cast

import anyio.lowlevel
from attrs import define, evolve, field

from ratesync.errors import CursorExpired
from ratesync.model.change import Change, ChangePage
from ratesync.model.difference import ABSENT, View
from ratesync.model.operation import Fields
from ratesync.model.outcome import Applied, Conflict, Outcome
from ratesync.model.record import Record
from ratesync.randomness import system_random
from ratesync.rules.sameness import is_same

_LEAST_LOG = 64
"""Changes that are remembered beyond the latest of each record, at least."""


def _as_given(fields: Fields) -> Fields:
    return fields


def _new_origin() -> str:
    return f"{system_random().getrandbits(64):016x}"


@define
class MemoryRecords:
    """A :class:`~ratesync.protocols.local.LocalStore` for records that live with the process: for tests, and to begin.

    The host changes records with :meth:`put`, :meth:`change` and :meth:`remove`, at any time.
    """

    tidy: Callable[[Fields], Fields] = _as_given
    """What the store makes of fields before it keeps them, as databases do."""
    now: Callable[[], float] | None = None
    """Tells the time of changes, in seconds since the epoch, if :func:`~ratesync.rules.resolvers.latest` is to know it.
    Default: no times are told."""
    origin: str = field(factory=_new_origin, kw_only=True)
    """Stands in versions and cursors, so that those of an earlier process, in a state store that outlived it, are not
    taken for ours. Default: drawn at random."""
    _records: dict[str, Record] = field(factory=dict[str, Record], init=False)
    _changed: dict[str, int] = field(factory=dict[str, int], init=False)
    """The number of each record's latest change, deleted ones included."""
    _log: list[tuple[int, str]] = field(factory=list[tuple[int, str]], init=False)
    """Changes in order. Those that are not their record's latest any more are passed over."""
    _made: dict[str, Record] = field(factory=dict[str, Record], init=False)
    """Records as they were made, by the operation that made them."""
    _count: int = field(default=0, init=False)

    @property
    def records(self) -> Mapping[str, Record]:
        """All records by id."""
        return self._records

    def put(self, record_id: str, fields: Fields) -> Record:
        """Make a record, or give one all its fields anew."""
        self._count += 1
        record = self._written(record_id, _copied(self.tidy(fields)))
        self._records[record_id] = record
        self._note(record_id)
        return record

    def _note(self, record_id: str) -> None:
        self._changed[record_id] = self._count
        self._log.append((self._count, record_id))
        if len(self._log) > 2 * len(self._changed) + _LEAST_LOG:
            self._log = [(number, name) for number, name in self._log if self._changed[name] == number]

    def _written(self, record_id: str, fields: Fields) -> Record:
        """The record, with the time at which each field was changed."""
        if self.now is None:
            return Record(record_id, fields, self._version)
        at, before = self.now(), self._records.get(record_id)
        was: Mapping[str, Any] = {} if before is None else before.fields
        times = {name: at for name in {*fields, *was} if not is_same(fields.get(name, ABSENT), was.get(name, ABSENT))}
        known: Mapping[str, float] = {} if before is None else before.field_times
        return Record(record_id, fields, self._version, at, {**known, **times})

    @property
    def _version(self) -> str:
        return f"{self.origin}.{self._count}"

    def change(self, record_id: str, **fields: Any) -> Record:
        """Change some fields of a record.

        :raises KeyError: there is no such record.
        """
        return self.put(record_id, {**self._records[record_id].fields, **fields})

    def remove(self, record_id: str) -> None:
        """Delete a record, if it is there."""
        if self._records.pop(record_id, None) is not None:
            self._count += 1
            self._note(record_id)

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes: each record once, at its latest change."""
        await anyio.lowlevel.checkpoint()
        after = self._position(cursor)
        start = bisect_right(self._log, after, key=itemgetter(0))
        entries = map(self._log.__getitem__, range(start, len(self._log)))
        latest = (entry for entry in entries if self._changed[entry[1]] == entry[0])
        behind = list(islice(latest, limit + 1))
        page = behind[:limit]
        return ChangePage(
            tuple(self._told(record_id) for _, record_id in page),
            f"{self.origin}.{page[-1][0] if page else after}",
            len(behind) > limit,
        )

    def _position(self, cursor: str | None) -> int:
        origin, _, number = (cursor or f"{self.origin}.0").partition(".")
        if origin != self.origin or not number.isdecimal():
            raise CursorExpired("this is not a cursor of this store: list all records anew")
        return int(number)

    def _told(self, record_id: str) -> Change:
        record = self._records.get(record_id)
        if record is None:
            return Change(record_id, is_deleted=True)
        return Change(record_id, record.version, _copied(record.fields))

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Those of the records that exist."""
        await anyio.lowlevel.checkpoint()
        return {record_id: self._copy(record_id) for record_id in record_ids if record_id in self._records}

    def _copy(self, record_id: str) -> Record:
        record = self._records[record_id]
        return evolve(record, fields=_copied(record.fields))

    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        """Records that have one of the values, as texts regardless of case."""
        await anyio.lowlevel.checkpoint()
        wanted = {str(value).strip().casefold() for value in values}
        return [
            self._copy(record_id)
            for record_id, record in self._records.items()
            if str(record.fields.get(name, "")).strip().casefold() in wanted
        ]

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """Make a record, once for each ``op_id``, or change one."""
        await anyio.lowlevel.checkpoint()
        if record_id is None:
            made = self._made.get(op_id)
            if made is None:
                made = self._made[op_id] = self.put(op_id, _without_absent(patch))
            return Applied(made.record_id, made.version, made)
        current = self._records.get(record_id)
        if current is None or if_version not in {None, current.version}:
            return Conflict("the record is gone, or has another version")
        record = self.put(record_id, _without_absent({**current.fields, **patch}))
        return Applied(record_id, record.version, self._copy(record_id))

    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        """Delete a record; one that is gone counts as deleted."""
        await anyio.lowlevel.checkpoint()
        current = self._records.get(record_id)
        if current is not None and if_version not in {None, current.version}:
            return Conflict("the record has another version")
        self.remove(record_id)
        return Applied(record_id)


def _copied(value: Any) -> Any:
    """A copy of a JSON value that shares nothing that can be changed with it."""
    if isinstance(value, Mapping):
        return {name: _copied(each) for name, each in cast("Mapping[str, object]", value).items()}
    return [_copied(each) for each in cast("list[object]", value)] if isinstance(value, list) else value


def _without_absent(fields: View) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}
