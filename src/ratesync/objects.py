"""Instances of an attrs class in this process's memory, as a side of a sync."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ratesync.errors import InvalidPayload
from ratesync.mapping.strict_class import StrictClass
from ratesync.memory.records import MemoryRecords
from ratesync.model.change import ChangePage
from ratesync.model.difference import View
from ratesync.model.operation import Fields
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.policy import PayloadLimits
from ratesync.model.record import Record
from ratesync.rules.payload import check_fields

V = TypeVar("V")

_JSON = PayloadLimits(max_bytes=2**31)


class ObjectRecords(Generic[V]):
    """A :class:`~ratesync.protocols.local.LocalStore` for instances of an attrs class; they live with the process.

    The host changes records with :meth:`put` and :meth:`remove`, at any time. Instances are copied on their way in and
    out: who changes one puts it again.

    Each attribute is a field of the view, and nothing is made to fit, as in :class:`~ratesync.mapping.TypedMapping`. A
    field that the view lacks, or that is taken away, gets the attribute's default. What the class cannot hold is
    rejected, by the names of the fields and without their values.

    :param kind: the class.
    :param now: tells the time of changes, in seconds since the epoch, if
        :func:`~ratesync.rules.resolvers.latest` is to know it. Default: no times are told.
    :raises ConfigurationError: it is no attrs class.
    """

    def __init__(self, kind: type[V], *, now: Callable[[], float] | None = None) -> None:
        self._class = StrictClass(kind)
        self._records = MemoryRecords(self._fitted, now)

    def _fitted(self, fields: Fields) -> Fields:
        """The fields as an instance of the class gives them, defaults included."""
        fitted = self._class.unstructure(self._class.structure(fields))
        check_fields(fitted, _JSON, self._class.view.__name__)
        return fitted

    @property
    def objects(self) -> Mapping[str, V]:
        """An instance for each record, by id."""
        return {record_id: self._class.structure(record.fields) for record_id, record in self._records.records.items()}

    def get(self, record_id: str) -> V | None:
        """The record as an instance; None if there is none."""
        record = self._records.records.get(record_id)
        return None if record is None else self._class.structure(record.fields)

    def put(self, record_id: str, instance: V) -> None:
        """Make a record, or give one all its fields anew.

        :raises InvalidPayload: a value is not of its attribute's type, or cannot be JSON.
        """
        self._records.put(record_id, self._class.unstructure(instance))

    def remove(self, record_id: str) -> None:
        """Delete a record, if it is there."""
        self._records.remove(record_id)

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes: each record once, at its latest change."""
        return await self._records.changes(cursor, limit=limit)

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Those of the records that exist."""
        return await self._records.read(record_ids)

    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        """Records that have one of the values, as texts regardless of case."""
        return await self._records.find(name, values)

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """Make a record, once for each ``op_id``, or change one."""
        try:
            return await self._records.apply(record_id, patch, if_version=if_version, op_id=op_id)
        except InvalidPayload as error:
            return Rejected(str(error))

    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        """Delete a record; one that is gone counts as deleted."""
        return await self._records.delete(record_id, if_version=if_version, op_id=op_id)
