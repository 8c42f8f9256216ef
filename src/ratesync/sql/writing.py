"""Writing a record of the host's: the row, its note in the outbox and what is remembered of it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ratesync.model.difference import View
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected
from ratesync.model.record import Record
from ratesync.sql.dialect import is_postgres
from ratesync.sql.feed import Feed
from ratesync.sql.row import BadField, Rows
from ratesync.sql.trouble import outcome_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class Writing:
    """One write of the sync's. Its methods run in a worker thread; what the database is to blame for is an outcome."""

    def __init__(self, engine: Engine, rows: Rows, feed: Feed, op_id: str) -> None:
        self.engine = engine
        self.rows = rows
        self.feed = feed
        self.op_id = op_id

    def make(self, patch: View) -> Outcome:
        """Make a record, or tell which one this operation made before."""
        return self._transact(lambda connection: self._make(patch, connection))

    def change(self, record_id: str, patch: View, if_version: str | None) -> Outcome:
        """Change a record that has that version."""
        return self._transact(lambda connection: self._change(record_id, patch, if_version, connection))

    def delete(self, record_id: str, if_version: str | None) -> Outcome:
        """Delete a record that has that version."""
        return self._transact(lambda connection: self._delete(record_id, if_version, connection))

    def _transact(self, work: Callable[[Connection], Outcome]) -> Outcome:
        from sqlalchemy.exc import SQLAlchemyError

        is_committing = False
        try:
            with self.engine.connect() as connection:
                self._lock(connection)
                outcome = work(connection)
                if isinstance(outcome, Applied):
                    is_committing = True
                    connection.commit()
                return outcome  # what was not applied is rolled back
        except BadField as error:
            return Rejected(str(error))
        except SQLAlchemyError as error:
            return outcome_of(error, is_committing=is_committing)

    def _lock(self, connection: Connection) -> None:
        """In SQLite, be the one who writes, before anything is read: what is read then stays true until the commit."""
        import sqlalchemy as sa

        if not is_postgres(connection.dialect):
            floor = self.feed.outbox.floor
            connection.execute(sa.update(floor).where(sa.false()).values(number=0))

    def _make(self, patch: View, connection: Connection) -> Outcome:
        import sqlalchemy as sa

        made = self.feed.outbox.made
        values = self.rows.new_values(patch, self.op_id)
        if is_postgres(connection.dialect):  # whoever makes the same one at the same time comes afterwards
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(self.op_id))))
        known = connection.execute(
            sa.select(made.c.record_id, made.c.fields, made.c.version).where(made.c.op_id == self.op_id)
        ).one_or_none()
        if known is not None:
            before = Record(*known)
            return Applied(before.record_id, before.version, before)
        key = self.rows.key
        if not is_postgres(connection.dialect) and self.rows.is_numbered and key.key not in values:
            number = self.feed.free_ids.next(connection, key)
            values |= {} if number is None else {key.key: number}
        inserted = connection.execute(sa.insert(self.rows.table).values(values)).inserted_primary_key
        assert inserted is not None  # noqa: S101  one row was inserted
        record = self._read(connection, key == inserted[0])
        if record is None:
            return Rejected("the new row is none that the scope covers, or a trigger of the host's has removed it")
        remembered: dict[str, Any] = {
            "op_id": self.op_id,
            "record_id": record.record_id,
            "version": record.version,
            "fields": dict(record.fields),
        }
        connection.execute(sa.insert(made).values(remembered))
        self._note(connection, record.record_id)
        return Applied(record.record_id, record.version, record)

    def _change(self, record_id: str, patch: View, if_version: str | None, connection: Connection) -> Outcome:
        import sqlalchemy as sa

        values = self.rows.values(patch)
        current = self._locked(connection, record_id)
        if current is None:
            return Conflict("the record is gone")
        if if_version not in {None, current.version}:
            return Conflict("the record has another version", current)
        chosen = self.rows.with_keys([record_id])
        if values:
            connection.execute(sa.update(self.rows.table).where(chosen).values(values))
            self._note(connection, record_id)
        record = self._read(connection, chosen)
        if record is None:
            return Conflict("a trigger of the host's has removed the record")
        return Applied(record_id, record.version, record)

    def _delete(self, record_id: str, if_version: str | None, connection: Connection) -> Outcome:
        import sqlalchemy as sa

        current = self._locked(connection, record_id)
        if current is not None:
            if if_version not in {None, current.version}:
                return Conflict("the record has another version", current)
            connection.execute(sa.delete(self.rows.table).where(self.rows.with_keys([record_id])))
            self._note(connection, record_id)
        return Applied(record_id)

    def _locked(self, connection: Connection, record_id: str) -> Record | None:
        return self._read(connection, self.rows.with_keys([record_id]), locks=True)

    def _read(self, connection: Connection, chosen: Any, *, locks: bool = False) -> Record | None:
        query = self.rows.select().where(chosen)
        if locks:
            query = query.with_for_update(of=self.rows.table)  # SQLite leaves it out
        row = connection.execute(query).one_or_none()
        return None if row is None else self.rows.record(row)

    def _note(self, connection: Connection, record_id: str) -> None:
        self.feed.outbox.note(connection, self.feed.resource, record_id, op_id=self.op_id)
