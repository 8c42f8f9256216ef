"""A table of the host's, as a side of a sync."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.to_thread import run_sync

from ratesync.model.change import Change, ChangePage
from ratesync.model.difference import View
from ratesync.model.outcome import Outcome
from ratesync.model.record import Record
from ratesync.sql.dialect import check_engine
from ratesync.sql.feed import Feed
from ratesync.sql.outbox import Outbox, table_of
from ratesync.sql.position import Cursor
from ratesync.sql.row import Rows
from ratesync.sql.trouble import unreadable
from ratesync.sql.writing import Writing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

MOST_KEYS = 500
"""Keys in one statement."""


class SqlRecords:
    """A :class:`~ratesync.protocols.local.LocalStore` for a table, in PostgreSQL (13 or newer) or SQLite.

    It works on asyncio and trio: statements run in worker threads, on an ordinary (not async) engine. A record's
    version is made of its fields, so the table needs no column for it. Who is cancelled waits for the transaction's
    end.

    Args:
        engine: Of the host's database. Its own time-outs hold.
        table: A ``Table`` or a mapped class whose primary key is one column; its text is the record's id.
        outbox: Where the table's changes are noted.
        resource: What its rows are called in the outbox. Default: the table's name.
        fields: The columns that are synced; a mapping gives them other names (``{"email": "email_address"}``). Default:
            all but the primary key, those of ``scope`` and that of ``changed_at``.
        scope: Values by column that a row must have to be a record, and that new ones get, such as a tenant's id.
            Default: none.
        changed_at: A column that tells when a row was last changed (a ``DateTime``; UTC, if it has no zone), for
            :func:`~ratesync.rules.resolvers.latest`. Default: no times are told.
        connections: Most connections that are used at once. Default 4.

    :raises ConfigurationError: something of this cannot be used.
    """

    def __init__(
        self,
        engine: Engine,
        table: Any,
        *,
        outbox: Outbox,
        resource: str | None = None,
        fields: Collection[str] | Mapping[str, str] | None = None,
        scope: Mapping[str, object] | None = None,
        changed_at: str | None = None,
        connections: int = 4,
    ) -> None:
        check_engine(engine)
        table = table_of(table)
        self._engine = engine
        self._rows = Rows(table, fields, scope or {}, changed_at)
        self._feed = Feed(outbox, resource or table.name)
        self._limiter = anyio.CapacityLimiter(connections)

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes behind ``cursor``, each record as it is now; None: first all records there are.

        :raises CursorExpired: the cursor is not of this outbox, or what is behind it was trimmed.
        :raises Unavailable: the database does not answer.
        """
        place = None if cursor is None else Cursor.decode(cursor)
        return await self._read(partial(self._changes, place, max(limit, 1)))

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Those of the records that exist, by id.

        :raises Unavailable: the database does not answer.
        """
        return await self._read(partial(self._by_id, record_ids))

    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        """All records that have one of ``values`` in the field ``name``; texts regardless of case and outer spaces.

        :raises KeyError: there is no such field.
        :raises Unavailable: the database does not answer.
        """
        return await self._read(partial(self._find, name, values))

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """Make a record, once for each ``op_id``, or change one; noted in the outbox in the same transaction."""
        writing = Writing(self._engine, self._rows, self._feed, op_id)
        work = (
            partial(writing.make, patch) if record_id is None else partial(writing.change, record_id, patch, if_version)
        )
        return await run_sync(work, limiter=self._limiter)

    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        """Delete a record; one that is gone counts as deleted."""
        writing = Writing(self._engine, self._rows, self._feed, op_id)
        return await run_sync(writing.delete, record_id, if_version, limiter=self._limiter)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await run_sync(self._in_thread, work, limiter=self._limiter)

    def _in_thread(self, work: Callable[[Connection], T]) -> T:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            problem = unreadable(error)
        raise problem  # here, so that SQLAlchemy's error, with its statement and values, is not part of it

    def _changes(self, cursor: Cursor | None, limit: int, connection: Connection) -> ChangePage:
        if cursor is None:
            cursor = Cursor(self._feed.end(connection), "")
        if cursor.listed is not None:
            return self._listing(cursor, limit, connection)
        found = self._feed.read(connection, cursor.position, limit + 1)
        page = found[:limit]
        ids = dict.fromkeys(self._spelt(record_id) for _, record_id in page)
        records = self._by_id(list(ids), connection)
        changes = tuple(_told(record_id, records.get(record_id)) for record_id in ids)
        behind = Cursor(page[-1][0]) if page else cursor
        return ChangePage(changes, behind.encode(), len(found) > limit)

    def _listing(self, cursor: Cursor, limit: int, connection: Connection) -> ChangePage:
        chosen = self._rows.select().order_by(self._rows.key).limit(limit + 1)
        if cursor.listed:
            chosen = chosen.where(self._rows.key > self._rows.key_of(cursor.listed))
        found = [self._rows.record(row) for row in connection.execute(chosen)]
        page = found[:limit]
        has_more = len(found) > limit
        behind = Cursor(cursor.position, page[-1].record_id) if has_more else Cursor(cursor.position)
        return ChangePage(tuple(_told(record.record_id, record) for record in page), behind.encode(), has_more)

    def _by_id(self, record_ids: Sequence[str], connection: Connection) -> Mapping[str, Record]:
        found: dict[str, Record] = {}
        for first in range(0, len(record_ids), MOST_KEYS):
            chosen = self._rows.select().where(self._rows.with_keys(record_ids[first : first + MOST_KEYS]))
            for row in connection.execute(chosen):
                record = self._rows.record(row)
                found[record.record_id] = record
        return found

    def _find(self, name: str, values: Sequence[Any], connection: Connection) -> Sequence[Record]:
        found: list[Record] = []
        for first in range(0, len(values), MOST_KEYS):
            chosen = self._rows.select().where(self._rows.having(name, values[first : first + MOST_KEYS]))
            found += [self._rows.record(row) for row in connection.execute(chosen)]
        return found

    def _spelt(self, record_id: str) -> str:
        """The id as we spell it: triggers know a key as the database writes it."""
        key = self._rows.key_of(record_id)
        return record_id if key is None else self._rows.id_of(key)


def _told(record_id: str, record: Record | None) -> Change:
    if record is None:
        return Change(record_id, is_deleted=True)
    return Change(record_id, record.version, record.fields)
