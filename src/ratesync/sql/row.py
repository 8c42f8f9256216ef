"""The rows of a table as records."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast
from uuid import NAMESPACE_OID, UUID, uuid5

from ratesync.errors import ConfigurationError
from ratesync.model.difference import ABSENT, View
from ratesync.model.record import Record
from ratesync.sql.values import ColumnCodec, check_instant, codec_of, seconds

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select, Table


BEYOND = 2**63
"""No column of whole numbers holds this."""


class BadField(ValueError):
    """A field that the table cannot hold; the message names it, not its value."""


class Rows:
    """Some columns of a table, in a scope: only rows with these values are records, and new ones get them.

    ``changed_at`` is the column that tells when a row was last changed, if there is one.

    :raises ConfigurationError: there is no such column, or it cannot be a field.
    """

    def __init__(
        self,
        table: Table,
        fields: Collection[str] | Mapping[str, str] | None,
        scope: Mapping[str, object],
        changed_at: str | None = None,
    ) -> None:
        (self.key,) = table.primary_key.columns
        times = [] if changed_at is None else [changed_at]
        names = self._names(table, fields, {self.key.key, *scope, *times})
        unknown = {*names.values(), *scope, *times} - set(table.columns.keys())
        if unknown:
            raise ConfigurationError(f"table {table.name} has no column {min(unknown)!r}")
        self.table = table
        self.columns = {name: table.columns[column] for name, column in names.items()}
        self._codecs: dict[str, ColumnCodec] = {name: codec_of(column) for name, column in self.columns.items()}
        self._key_codec = codec_of(self.key)
        self._scope = {table.columns[name]: value for name, value in scope.items()}
        self._times = [table.columns[name] for name in times]
        for column in self._times:
            check_instant(column)

    @staticmethod
    def _names(
        table: Table, fields: Collection[str] | Mapping[str, str] | None, others: Collection[str]
    ) -> Mapping[str, str]:
        """The columns' names by those of the fields."""
        if isinstance(fields, Mapping):
            return cast("Mapping[str, str]", fields)
        chosen = [key for key in table.columns.keys() if key not in others] if fields is None else fields  # noqa: SIM118
        return {name: name for name in chosen}

    def select(self) -> Select[Any]:
        """All records: the key first, then the time if it is told, then the fields."""
        import sqlalchemy as sa

        chosen = sa.select(self.key, *self._times, *self.columns.values())
        return chosen.where(*(column == value for column, value in self._scope.items()))

    def with_keys(self, record_ids: Sequence[str]) -> ColumnElement[bool]:
        """Those of these ids."""
        return self.key.in_([key for record_id in record_ids if (key := self.key_of(record_id)) is not None])

    def having(self, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
        """Those that have one of the values in a field; texts regardless of case and outer spaces.

        :raises KeyError: there is no such field.
        """
        import sqlalchemy as sa

        column, codec = self.columns[name], self._codecs[name]
        exact: list[Any] = []
        for value in values:
            with suppress(ValueError, TypeError):  # no row has it
                exact.append(codec.from_json(value))
        texts = [value.strip().lower() for value in exact if isinstance(value, str)]
        if texts:
            return sa.or_(column.in_(exact), sa.func.lower(sa.func.trim(column)).in_(texts))
        return column.in_(exact)

    def key_of(self, record_id: str) -> Any:
        """The key of an id; None if no row can have it."""
        import sqlalchemy as sa

        try:
            key = self._key_codec.from_json(int(record_id) if isinstance(self.key.type, sa.Integer) else record_id)
        except (ValueError, TypeError):
            return None
        is_beyond = abs(key) >= BEYOND if isinstance(key, int) else "\0" in str(key)
        return None if is_beyond else key

    def id_of(self, key: Any) -> str:
        """The id of a key, always spelt alike."""
        return str(self._key_codec.to_json(key))

    def record(self, row: Sequence[Any]) -> Record:
        """The record that a row of :meth:`select` is."""
        key, *rest = row
        times, values = rest[: len(self._times)], rest[len(self._times) :]
        fields = {
            name: None if value is None else codec.to_json(value)
            for (name, codec), value in zip(self._codecs.items(), values, strict=True)
        }
        changed_at = next((seconds(time) for time in times if time is not None), None)
        return Record(self.id_of(key), fields, version_of(fields), changed_at)

    def values(self, patch: View) -> dict[str, Any]:
        """What to write for a patch, by column.

        :raises BadField: a field is unknown, or its value is none that the column can hold.
        """
        found: dict[str, Any] = {}
        for name, value in patch.items():
            codec = self._codecs.get(name)
            if codec is None:
                raise BadField(f"{name}: is no field of {self.table.name}")
            try:
                is_empty = value is None or value is ABSENT
                found[self.columns[name].key] = None if is_empty else codec.from_json(value)
            except (ValueError, TypeError, OverflowError) as error:  # the last of instants near the years 1 and 9999
                raise BadField(f"{name}: {_why(error)}") from None
        return found

    @property
    def is_numbered(self) -> bool:
        """New rows get the next whole number as their key, if they are given none."""
        import sqlalchemy as sa

        key = self.key
        is_made = key.default is not None or (key.server_default is not None and key.identity is None)
        return isinstance(key.type, sa.Integer) and not is_made

    def new_values(self, patch: View, op_id: str) -> dict[str, Any]:
        """What to insert: the scope's values too, and a key where neither table nor database makes one."""
        import sqlalchemy as sa

        values = {column.key: value for column, value in self._scope.items()} | self.values(patch)
        key = self.key
        makes_own = key.default is not None or key.server_default is not None or key.identity is not None
        if not makes_own and key.key not in values and not isinstance(key.type, sa.Integer):
            values[key.key] = _uuid_of(op_id) if isinstance(key.type, sa.Uuid) else op_id
        return values


def version_of(fields: View) -> str:
    """A version that is another one exactly when a field is."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _why(error: Exception) -> str:
    """What is wrong, in words of ours: those of the library may show the value."""
    text = str(error)
    return text if text.startswith("must be") else "is not in the form of the column's type"


def _uuid_of(op_id: str) -> UUID:
    try:
        return UUID(op_id)
    except ValueError:
        return uuid5(NAMESPACE_OID, op_id)
